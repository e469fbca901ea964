use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, DnType, KeyPair, SigningKey};
use x509_parser::certificate::X509Certificate;

use super::*;
use crate::testing::{HOUR, ca, id, now, uris};
use crate::x509::{Leaf, Signer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn td() -> TrustDomain {
    "example.org".parse().unwrap()
}

fn orders() -> SpiffeId {
    id("example.org", "shop", "orders")
}

fn parse(der: &CertificateDer<'static>) -> X509Certificate<'static> {
    let leaked: &'static [u8] = der.to_vec().leak();
    X509Certificate::from_der(leaked).unwrap().1
}

fn csr(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(key).unwrap().der().to_vec()
}

mod profiles {
    use super::*;

    #[test]
    fn root_and_issuing_ca_meet_the_standard() {
        let ca = ca("example.org");
        let root = &ca.trust_bundle().anchors()[0].clone();
        for (der, path_len) in [(root, None), (&ca.issuing().certificate, Some(0))] {
            let signer = Signer::parse(der).unwrap();
            assert_eq!(signer.id, Some(td().id()));
            let certificate = parse(der);
            let constraints = certificate.basic_constraints().unwrap().unwrap();
            assert!(constraints.critical && constraints.value.ca);
            assert_eq!(constraints.value.path_len_constraint, path_len);
            let usage = certificate.key_usage().unwrap().unwrap();
            assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
            assert!(!usage.value.digital_signature());
        }
        let years = |der, n: u32| {
            let left = Signer::parse(der).unwrap().not_after.duration_since(now());
            left.unwrap().abs_diff(DAY * 365 * n) < DAY
        };
        assert!(years(root, 10));
        assert!(years(&ca.issuing().certificate, 1));
        parse(&ca.issuing().certificate).verify_signature(Some(parse(root).public_key())).unwrap();
    }

    #[test]
    fn a_leaf_has_the_given_id_and_nothing_that_was_asked_for() {
        let ca = ca("example.org");
        let key = KeyPair::generate().unwrap();
        let greedy = csr(&key, |params| {
            params.subject_alt_names = uris(&["spiffe://example.org/weft/control-plane"]);
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
            params.distinguished_name.push(DnType::CommonName, "admin");
        });

        let chain = ca.sign(&greedy, &orders(), HOUR, now()).unwrap();

        assert_eq!(chain.len(), 2);
        assert_eq!(Leaf::parse(&chain[0]).unwrap().id, orders());
        let leaf = parse(&chain[0]);
        assert_eq!(leaf.subject().iter().count(), 0);
        assert_eq!(leaf.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
        let usage = leaf.extended_key_usage().unwrap().unwrap();
        assert!(usage.value.server_auth && usage.value.client_auth);
    }

    #[test]
    fn unknown_extensions_in_a_request_do_no_harm() {
        let odd = csr(&KeyPair::generate().unwrap(), |params| {
            let extension = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 9], vec![5, 0]);
            params.custom_extensions.push(extension);
        });
        ca("example.org").sign(&odd, &orders(), HOUR, now()).unwrap();
    }

    #[test]
    fn serial_numbers_are_random_and_positive() {
        let ca = ca("example.org");
        let serials: BTreeSet<_> = (0..20)
            .map(|_| {
                let svid = ca.issue(&orders(), HOUR, now()).unwrap();
                let leaf = parse(&svid.chain()[0]);
                assert!(leaf.raw_serial()[0] < 0x80, "negative");
                assert!((12..=17).contains(&leaf.raw_serial().len()));
                leaf.raw_serial().to_vec()
            })
            .collect();
        assert_eq!(serials.len(), 20);
    }

    #[test]
    fn validity_starts_early_for_clock_skew_and_ends_on_time() {
        let ca = ca("example.org");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now_in_seconds());
        let day = ca.issue(&orders(), DAY, now).unwrap();
        assert_eq!(day.not_before(), now - Duration::from_secs(60));
        assert_eq!(day.not_after(), now + DAY);
        // A minute of skew would be most of the life of a very short one.
        let brief = ca.issue(&orders(), Duration::from_secs(10), now).unwrap();
        assert_eq!(brief.not_before(), now - Duration::from_secs(1));
        assert_eq!(brief.not_after(), now + Duration::from_secs(10));
    }

    #[test]
    fn a_leaf_never_outlives_the_issuing_ca() {
        let ca = ca("example.org");
        for lifetime in [DAY * 3650, Duration::MAX] {
            let svid = ca.issue(&orders(), lifetime, now()).unwrap();
            assert_eq!(svid.not_after(), ca.issuing_not_after());
        }
        let after = ca.issuing_not_after() + Duration::from_secs(1);
        assert!(matches!(ca.issue(&orders(), HOUR, after), Err(CaError::Expired)));
    }

    fn now_in_seconds() -> u64 {
        let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        since.as_secs()
    }
}

mod requests {
    use super::*;

    fn refused(csr: &[u8]) -> CsrRefused {
        match ca("example.org").sign(csr, &orders(), HOUR, now()) {
            Err(CaError::Csr(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_usual_keys_are_accepted() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let chain = ca("example.org").sign(&csr(&key, |_| {}), &orders(), HOUR, now());
            let leaf = parse(&chain.unwrap()[0]);
            assert_eq!(leaf.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
        }
    }

    #[test]
    fn other_keys_are_refused() {
        for algorithm in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P521_SHA512] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            assert_eq!(refused(&csr(&key, |_| {})), CsrRefused::UnsupportedKey);
        }
    }

    #[test]
    fn a_request_for_someone_elses_key_is_refused() {
        /// Claims one key and signs with another.
        struct Thief(KeyPair, KeyPair);
        impl PublicKeyData for Thief {
            fn der_bytes(&self) -> &[u8] {
                self.0.der_bytes()
            }
            fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
                self.0.algorithm()
            }
        }
        impl SigningKey for Thief {
            fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
                self.1.sign(message)
            }
        }
        let thief = Thief(KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let request = CertificateParams::default().serialize_request(&thief).unwrap();
        assert_eq!(refused(request.der()), CsrRefused::NotPossessed);
    }

    #[test]
    fn damaged_requests_are_refused() {
        let good = csr(&KeyPair::generate().unwrap(), |_| {});
        let longer = [good.as_slice(), &[0]].concat();
        for bytes in [&[], b"hello".as_slice(), &good[..good.len() - 1], &longer] {
            assert!(matches!(refused(bytes), CsrRefused::Malformed(_)));
        }
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        refused(&flipped);
    }

    #[test]
    fn ids_outside_the_trust_domain_or_without_a_path_are_refused() {
        let ca = ca("example.org");
        for id in [id("other.example", "shop", "orders"), td().id()] {
            assert!(matches!(ca.issue(&id, HOUR, now()), Err(CaError::ForeignId { .. })));
        }
    }
}

mod on_disk {
    use super::*;

    const FILES: [&str; 4] = ["issuing.key", "issuing.pem", "root.key", "root.pem"];

    fn open(dir: &Path) -> Result<Ca, CaError> {
        Ca::open_or_create(dir, td(), now())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_folder_is_private_and_opens_again_with_the_same_root() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data/ca");
        let first = open(&dir).unwrap();

        assert_eq!(names(&dir), FILES);
        assert_eq!(mode(&dir), 0o700);
        for name in FILES {
            assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
        }
        assert_eq!(names(&home.path().join("data")), ["ca"]);

        let second = open(&dir).unwrap();
        assert_eq!(second.trust_bundle(), first.trust_bundle());
        assert_eq!(second.issuing().certificate, first.issuing().certificate);
        second.issue(&orders(), HOUR, now()).unwrap();
    }

    #[test]
    fn an_empty_folder_is_filled() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        fs::create_dir(&dir).unwrap();
        open(&dir).unwrap();
        assert_eq!(names(&dir), FILES);
        assert_eq!(mode(&dir), 0o700);
    }

    #[test]
    fn another_trust_domain_is_refused_and_nothing_changes() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        let ours = open(&dir).unwrap();
        let error = Ca::open_or_create(&dir, "other.example".parse().unwrap(), now()).unwrap_err();
        assert!(matches!(error, CaError::ForeignFolder { .. }));
        let text = error.to_string();
        assert!(text.contains("example.org") && text.contains("other.example"));
        assert_eq!(open(&dir).unwrap().trust_bundle(), ours.trust_bundle());
    }

    #[test]
    fn a_folder_that_lacks_any_file_is_refused_and_never_replaced() {
        for name in FILES {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("ca");
            open(&dir).unwrap();
            fs::remove_file(dir.join(name)).unwrap();
            let left = names(&dir);

            let error = open(&dir).unwrap_err();
            assert!(matches!(&error, CaError::Incomplete { missing, .. } if *missing == [name]), "{error}");
            assert_eq!(names(&dir), left);
        }
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("notes.txt"), "mine").unwrap();
        let error = open(&dir).unwrap_err();
        assert!(matches!(&error, CaError::Incomplete { missing, .. } if missing.len() == 4), "{error}");
        assert_eq!(names(&dir), ["notes.txt"]);
    }

    #[test]
    fn a_crash_while_the_folder_was_filled_is_recovered() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        let unfinished = home.path().join(".ca.0123456789abcdef.new");
        fs::create_dir(&unfinished).unwrap();
        fs::write(unfinished.join("root.key"), "half").unwrap();
        fs::create_dir(home.path().join(".cargo.new")).unwrap();

        open(&dir).unwrap();

        assert_eq!(names(&dir), FILES);
        assert_eq!(names(home.path()), [".cargo.new", "ca"]);
    }

    #[test]
    fn processes_that_start_together_agree_on_one_ca() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        let bundles: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&dir).unwrap().trust_bundle())).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(bundles.iter().all(|bundle| *bundle == bundles[0]));
        assert_eq!(names(&dir), FILES);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        open(&dir).unwrap();
        let key = dir.join("issuing.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let error = open(&dir).unwrap_err();
        assert!(matches!(&error, CaError::Exposed { path } if *path == key));
        assert!(error.to_string().contains("chmod 600"));
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        for name in FILES {
            let home = tempfile::tempdir().unwrap();
            let (dir, other) = (home.path().join("ca"), home.path().join("other"));
            open(&dir).unwrap();
            open(&other).unwrap();
            fs::copy(other.join(name), dir.join(name)).unwrap();
            let error = open(&dir).unwrap_err();
            assert!(matches!(error, CaError::Damaged { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn garbage_in_a_file_is_refused_by_name() {
        for name in FILES {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("ca");
            open(&dir).unwrap();
            fs::write(dir.join(name), "garbage").unwrap();
            let error = open(&dir).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn an_issuing_ca_near_its_end_is_renewed_below_the_same_root() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        let first = open(&dir).unwrap();

        let spring = Ca::open_or_create(&dir, td(), now() + DAY * 200).unwrap();
        assert_eq!(spring.issuing().certificate, first.issuing().certificate);

        let autumn = Ca::open_or_create(&dir, td(), now() + DAY * 300).unwrap();
        assert_ne!(autumn.issuing().certificate, first.issuing().certificate);
        assert!(autumn.issuing_not_after() > first.issuing_not_after());
        assert_eq!(autumn.trust_bundle(), first.trust_bundle());
        assert_eq!(parse(&autumn.issuing().certificate).public_key(), parse(&first.issuing().certificate).public_key());
        assert_eq!(mode(&dir.join("issuing.pem")), 0o600);

        let again = Ca::open_or_create(&dir, td(), now() + DAY * 301).unwrap();
        assert_eq!(again.issuing().certificate, autumn.issuing().certificate);
    }

    #[test]
    fn an_open_ca_renews_its_issuing_ca_and_signs_on() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        let ca = open(&dir).unwrap();
        assert!(!ca.renew(now() + DAY * 200).unwrap());
        let late = now() + DAY * 400;
        assert!(matches!(ca.issue(&orders(), HOUR, late), Err(CaError::Expired)));

        assert!(ca.renew(now() + DAY * 300).unwrap());
        assert!(!ca.renew(now() + DAY * 300).unwrap());
        let svid = ca.issue(&orders(), HOUR, late).unwrap();
        assert_eq!(svid.chain()[1], ca.issuing().certificate);
        let again = Ca::open(&dir, td(), late - DAY * 90).unwrap();
        assert_eq!(again.issuing().certificate, ca.issuing().certificate);
    }

    #[test]
    fn an_open_ca_does_not_take_over_another_root() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        let ca = open(&dir).unwrap();
        fs::rename(&dir, home.path().join("away")).unwrap();
        assert!(matches!(ca.renew(now()), Err(CaError::Incomplete { .. })));
        open(&dir).unwrap();
        assert!(matches!(ca.renew(now()), Err(CaError::Damaged { .. })));
    }

    #[test]
    fn opening_what_is_not_there_makes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        let error = Ca::open(&dir, td(), now()).unwrap_err();
        assert!(matches!(&error, CaError::Incomplete { missing, .. } if missing.len() == 4), "{error}");
        assert!(!dir.exists());
    }

    #[test]
    fn the_issuing_ca_never_outlives_the_root() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ca");
        open(&dir).unwrap();
        let late = Ca::open_or_create(&dir, td(), now() + DAY * 3600).unwrap();
        let root = Signer::parse(&late.trust_bundle().anchors()[0]).unwrap();
        assert_eq!(late.issuing_not_after(), root.not_after);
    }
}
