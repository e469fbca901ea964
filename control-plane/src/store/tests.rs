use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use redb::ReadableTable;
use serde_json::json;

use super::*;
use crate::{
    resources::{Key, Kind, Manifest},
    snapshot::{WorkloadPort, WorkloadPorts},
};

struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("weft.redb")).unwrap();
    Fixture { folder, store }
}

fn file(fixture: &Fixture) -> PathBuf {
    fixture.folder.path().join("weft.redb")
}

fn key(name: &str) -> Key {
    Key::new(Kind::MeshService, "shop", name)
}

fn manifest(n: u64) -> Manifest {
    (&json!({"n": n})).into()
}

fn event(changes: Vec<Delta>) -> NewEvent {
    NewEvent { time: Timestamp::UNIX_EPOCH, author: "ada".into(), message: "why".into(), changes }
}

fn set(name: &str, before: Option<Manifest>, after: Option<Manifest>) -> Delta {
    Delta { key: key(name), before, after }
}

/// Revision `n` sets object `n % 5` to `n`, and deletes it where `n` is a multiple of 7.
fn write_many(store: &Store, count: u64) -> Vec<Documents> {
    let mut states = vec![Documents::new()];
    for n in 1..=count {
        let mut state = states.last().unwrap().clone();
        let name = format!("s{}", n % 5);
        let before = state.get(&key(&name)).cloned();
        let after = (n % 7 != 0).then(|| manifest(n));
        match &after {
            Some(document) => state.insert(key(&name), document.clone()),
            None => state.remove(&key(&name)),
        };
        assert_eq!(store.apply(event(vec![set(&name, before, after)])).unwrap(), n);
        states.push(state);
    }
    states
}

#[test]
fn every_revision_can_be_rebuilt_also_across_snapshots_and_a_reopening() {
    let mut fixture = fixture();
    let states = write_many(&fixture.store, 3 * events::SNAPSHOT_EVERY + 5);
    fixture.store = {
        let path = file(&fixture);
        drop(fixture.store);
        Store::open(&path).unwrap()
    };
    for (revision, state) in states.iter().enumerate() {
        assert_eq!(fixture.store.documents_at(revision as u64).unwrap(), *state, "revision {revision}");
    }
    assert_eq!(fixture.store.documents().unwrap(), *states.last().unwrap());
}

#[test]
fn a_large_mesh_is_written_in_full_only_when_as_much_has_changed() {
    let fixture = fixture();
    let many = (0..1000).map(|n| set(&format!("s{n}"), None, Some(manifest(n)))).collect();
    fixture.store.apply(event(many)).unwrap();
    let count = || {
        let table = fixture.store.read().unwrap().open_table(events::SNAPSHOTS).unwrap();
        table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect::<Vec<_>>()
    };
    let mut expected = Vec::new();
    for n in 2..=4 * events::SNAPSHOT_EVERY {
        fixture.store.apply(event(vec![set("s0", Some(manifest(n - 1)), Some(manifest(n)))])).unwrap();
        if n == events::SNAPSHOT_EVERY {
            expected = count();
        }
    }
    assert_eq!(expected, [events::SNAPSHOT_EVERY]);
    assert_eq!(count(), expected, "the log has grown by less than the whole");
    let rebuilt = fixture.store.documents_at(3 * events::SNAPSHOT_EVERY).unwrap();
    assert_eq!((rebuilt.len(), &rebuilt[&key("s0")]), (1000, &manifest(3 * events::SNAPSHOT_EVERY)));
}

#[test]
fn history_says_what_when_who_and_why_newest_first() {
    let fixture = fixture();
    fixture.store.apply(event(vec![set("a", None, Some(manifest(1)))])).unwrap();
    fixture.store.apply(event(vec![set("a", Some(manifest(1)), None)])).unwrap();
    let history = fixture.store.history(100).unwrap();
    assert_eq!(history.iter().map(|event| event.revision).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(fixture.store.history(1).unwrap(), history[..1]);
    assert_eq!(history[0].changes, [set("a", Some(manifest(1)), None)]);
    assert_eq!((history[1].author.as_str(), history[1].message.as_str()), ("ada", "why"));
}

#[test]
fn a_revision_that_is_not_there_is_named() {
    let fixture = fixture();
    assert!(fixture.store.documents_at(0).unwrap().is_empty());
    let error = fixture.store.documents_at(3).unwrap_err();
    assert!(matches!(error, StoreError::NoRevision { asked: 3, newest: 0 }), "{error}");
}

#[test]
fn a_store_in_use_and_a_damaged_one_are_told_apart() {
    let fixture = fixture();
    assert!(matches!(Store::open(&file(&fixture)), Err(StoreError::Locked(_))));
    let other = fixture.folder.path().join("other.redb");
    std::fs::write(&other, "this is not a store").unwrap();
    assert!(matches!(Store::open(&other), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_flipped_page_is_reported_and_never_a_panic() {
    let fixture = fixture();
    write_many(&fixture.store, 20);
    let path = file(&fixture);
    drop(fixture.store);
    let whole = std::fs::read(&path).unwrap();
    for place in (0..whole.len()).step_by(whole.len() / 16) {
        let mut bytes = whole.clone();
        let end = (place + 64).min(bytes.len());
        bytes[place..end].fill(0xA5);
        std::fs::write(&path, bytes).unwrap();
        // Free space may be overwritten without loss; everything else must be an error.
        if let Ok(store) = Store::open(&path) {
            assert_eq!(store.history(100).unwrap().len(), 20, "at byte {place}");
        }
    }
}

#[test]
fn a_creation_that_was_cut_short_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weft.new"), "half a store").unwrap();
    let store = Store::open(&folder.path().join("weft.redb")).unwrap();
    assert_eq!(store.revision().unwrap(), 0);
}

#[test]
fn a_newer_format_is_refused() {
    let fixture = fixture();
    fixture.store.set_meta("format", &2_u64.to_be_bytes()).unwrap();
    let path = file(&fixture);
    drop(fixture.store);
    assert!(matches!(Store::open(&path), Err(StoreError::Format { found: 2, .. })));
}

mod join_tokens {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn new_token(uses: u32) -> NewToken {
        NewToken {
            account: Account {
                namespace: "shop".into(),
                service_account: "orders".into(),
                spiffe_id: "spiffe://weft.local/ns/shop/sa/orders".parse().unwrap(),
            },
            services: ["orders".to_owned()].into(),
            expires: NOW + SignedDuration::from_secs(60),
            uses,
        }
    }

    #[test]
    fn a_token_is_written_and_read() {
        let token = JoinToken::generate().unwrap();
        let text = token.to_string();
        assert_eq!(text.len(), "weft-join-".len() + 16 + 1 + 64);
        assert!(text.parse::<JoinToken>().unwrap() == token);
        for bad in ["", "weft-join-", "weft-join-0123456789abcdef", &text[1..], &format!("{text}0")] {
            assert_eq!(bad.parse::<JoinToken>().err(), Some(TokenRefusal::Unknown), "{bad}");
        }
    }

    #[test]
    fn uses_are_counted_across_a_reopening() {
        let fixture = fixture();
        let token = fixture.store.create_token(new_token(2), NOW).unwrap();
        assert_eq!(fixture.store.consume_token(&token, NOW).unwrap().unwrap().service_account, "orders");
        let path = file(&fixture);
        drop(fixture.store);
        let store = Store::open(&path).unwrap();
        assert!(store.consume_token(&token, NOW).unwrap().is_ok());
        assert_eq!(store.consume_token(&token, NOW).unwrap(), Err(TokenRefusal::UsedUp(2)));
    }

    #[test]
    fn an_expired_token_is_refused_from_its_end_on() {
        let fixture = fixture();
        let token = fixture.store.create_token(new_token(9), NOW).unwrap();
        let end = NOW + SignedDuration::from_secs(60);
        assert!(fixture.store.consume_token(&token, end - SignedDuration::from_millis(1)).unwrap().is_ok());
        assert_eq!(fixture.store.consume_token(&token, end).unwrap(), Err(TokenRefusal::Expired(end)));
    }

    #[test]
    fn a_wrong_secret_looks_like_an_unknown_token_and_costs_no_use() {
        let fixture = fixture();
        let token = fixture.store.create_token(new_token(1), NOW).unwrap();
        let wrong: JoinToken = format!("weft-join-{}-{}", token.id(), "0".repeat(64)).parse().unwrap();
        assert_eq!(fixture.store.consume_token(&wrong, NOW).unwrap(), Err(TokenRefusal::Unknown));
        assert_eq!(
            fixture.store.consume_token(&JoinToken::generate().unwrap(), NOW).unwrap(),
            Err(TokenRefusal::Unknown)
        );
        assert!(fixture.store.consume_token(&token, NOW).unwrap().is_ok());
    }

    #[test]
    fn a_refused_token_neither_writes_nor_waits_for_the_writer() {
        let fixture = fixture();
        let used_up = fixture.store.create_token(new_token(1), NOW).unwrap();
        fixture.store.consume_token(&used_up, NOW).unwrap().unwrap();
        let unknown = JoinToken::generate().unwrap();
        let before = std::fs::read(file(&fixture)).unwrap();

        let writer = fixture.store.database.begin_write().unwrap();
        let (refusal, refused) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for token in [&unknown, &used_up] {
                let (store, refusal) = (&fixture.store, refusal.clone());
                scope.spawn(move || refusal.send(store.consume_token(token, NOW).unwrap().is_err()).unwrap());
            }
            let answers: Vec<_> = (0..2).map(|_| refused.recv_timeout(Duration::from_secs(20))).collect();
            // Ends those that wait, so that the test ends, too.
            writer.abort().unwrap();
            assert_eq!(answers, [Ok(true), Ok(true)]);
        });
        assert!(std::fs::read(file(&fixture)).unwrap() == before, "something was written");
    }

    #[test]
    fn a_refusal_in_a_write_leaves_the_file_as_it_was() {
        let fixture = fixture();
        let before = std::fs::read(file(&fixture)).unwrap();
        let refused = fixture.store.write_unless(|transaction| {
            transaction.open_table(META)?.insert("a", b"b".as_slice())?;
            Ok(Err::<(), _>("no"))
        });
        assert_eq!(refused.unwrap(), Err("no"));
        assert_eq!(fixture.store.meta("a").unwrap(), None);
        assert!(std::fs::read(file(&fixture)).unwrap() == before, "something was written");
    }

    #[test]
    fn the_secret_is_not_on_the_disk() {
        let fixture = fixture();
        let token = fixture.store.create_token(new_token(1), NOW).unwrap().to_string();
        let secret = token.rsplit('-').next().unwrap().as_bytes().to_vec();
        let bytes = std::fs::read(file(&fixture)).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }

    #[test]
    fn grants_add_up_and_long_ended_tokens_are_forgotten() {
        let fixture = fixture();
        let first = fixture.store.create_token(new_token(1), NOW).unwrap();
        let later = NOW + SignedDuration::from_hours(48);
        let more = NewToken { services: ["canary".to_owned()].into(), expires: later, ..new_token(1) };
        let account = more.account.spiffe_id.clone();
        fixture.store.create_token(more, later).unwrap();
        assert_eq!(fixture.store.grants(&account).unwrap(), ["canary".to_owned(), "orders".to_owned()].into());
        assert_eq!(fixture.store.consume_token(&first, later).unwrap(), Err(TokenRefusal::Unknown));
    }
}

#[test]
fn registrations_and_resolved_hosts_survive_a_reopening() {
    let fixture = fixture();
    let registration = Registration {
        identity: "spiffe://weft.local/ns/shop/sa/orders".parse().unwrap(),
        service: "orders".into(),
        ports: WorkloadPorts {
            first: WorkloadPort { service_port: 80, address: "10.0.0.1:15006".parse().unwrap(), serving: true },
            further_ports: vec![WorkloadPort {
                service_port: 9090,
                address: "10.0.0.1:9090".parse().unwrap(),
                serving: false,
            }],
        },
        labels: [("version".to_owned(), "v1".to_owned())].into(),
        zone: "a".into(),
    };
    let resolved = [(("db.test".to_owned(), 5432), vec!["10.0.0.9:5432".parse().unwrap()])].into();
    for id in ["a", "b"] {
        fixture.store.put_registration(id, registration.clone(), 7).unwrap();
    }
    fixture.store.remove_registrations(&["b".to_owned()].into()).unwrap();
    fixture.store.put_resolved(&resolved).unwrap();
    let path = file(&fixture);
    drop(fixture.store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.registrations().unwrap(), [("a".to_owned(), (registration, 7))].into());
    assert_eq!(store.resolved().unwrap(), resolved);
}

#[test]
fn a_registration_of_an_earlier_version_is_read() {
    let text = r#"{"identity":"spiffe://weft.local/ns/shop/sa/orders","service":"orders","servicePort":80,
        "address":"10.0.0.1:15006","labels":{},"zone":"","serving":true}"#;
    let registration: Registration = serde_json::from_str(text).unwrap();
    let only = WorkloadPort { service_port: 80, address: "10.0.0.1:15006".parse().unwrap(), serving: true };
    assert_eq!(registration.ports, only.into());
}
