use super::*;
use crate::docker::containers::Health;

const NOW: &str = "2026-01-01T12:00:00Z";

fn at(minute: u8) -> Option<Timestamp> {
    Some(format!("2026-01-01T11:{minute:02}:00Z").parse().unwrap())
}

/// One of the project `shop` that has run since 11:10, well.
pub fn container(name: &str, role: Option<Role>) -> Container {
    let ends = role.is_some_and(Role::ends);
    Container {
        id: format!("id-{name}"),
        name: name.to_owned(),
        image: "image".to_owned(),
        role,
        service: None,
        project: Some("shop".to_owned()),
        compose_service: Some(name.to_owned()),
        files: Vec::new(),
        status: if ends { "exited" } else { "running" }.to_owned(),
        exit_code: 0,
        error: None,
        started: at(10),
        finished: ends.then(|| at(10)).flatten(),
        health: None,
        restarts: 0,
        within: None,
        networks: ["shop_default".to_owned()].into(),
        labels: None,
    }
}

/// A service with all that belongs to it, and the mesh's control plane.
fn shop() -> Vec<Container> {
    let mut all = vec![container("control-plane", Some(Role::ControlPlane)), container("join", Some(Role::Join))];
    all.extend(service("orders"));
    all
}

fn service(name: &str) -> [Container; 3] {
    let mut holder = container(&format!("{name}-net"), Some(Role::Network));
    holder.started = at(9);
    holder.service = Some(name.to_owned());
    let within = |mut inner: Container| {
        inner.within = Some(holder.id.clone());
        inner.networks.clear();
        inner
    };
    let sidecar = within(container(&format!("{name}-weft"), Some(Role::Sidecar)));
    let program = within(container(name, None));
    [holder, sidecar, program]
}

fn found(containers: &[Container]) -> Vec<String> {
    let now = NOW.parse().unwrap();
    find(containers, now).iter().map(|f| format!("{}: {:?}: {}", f.container.name, f.kind, f.reason)).collect()
}

/// Changes one container of a mesh that is well.
fn changed(name: &str, change: impl FnOnce(&mut Container)) -> Vec<String> {
    let mut all = shop();
    change(all.iter_mut().find(|container| container.name == name).unwrap());
    found(&all)
}

#[test]
fn a_mesh_that_is_well_has_nothing_wrong() {
    assert_eq!(found(&shop()), [""; 0]);
}

#[test]
fn what_should_run_and_does_not_is_found() {
    for name in ["control-plane", "orders-weft", "orders-net"] {
        let ended = changed(name, |container| {
            container.status = "exited".to_owned();
            container.exit_code = 137;
        });
        assert!(ended.contains(&format!("{name}: Down: it does not run: it has ended with code 137")), "{ended:?}");
        let never = changed(name, |container| {
            container.status = "created".to_owned();
            container.started = None;
        });
        assert!(never.contains(&format!("{name}: Waiting: it has never run")), "{never:?}");
        let refused = changed(name, |container| {
            container.status = "created".to_owned();
            container.error = Some("port is already allocated".to_owned());
        });
        assert!(refused.contains(&format!("{name}: Down: it could not be started")), "{refused:?}");
    }
}

#[test]
fn who_only_waits_is_not_in_the_way_of_the_cause() {
    let mut all = shop();
    for container in all.iter_mut().filter(|container| container.name != "orders-net") {
        container.status = "created".to_owned();
    }
    let waiting = ["control-plane", "join", "orders-weft", "orders"];
    assert_eq!(found(&all), waiting.map(|name| format!("{name}: Waiting: it has never run")));
    all[0].error = Some("no space left".to_owned());
    assert_eq!(found(&all), ["control-plane: Down: it could not be started"]);
}

#[test]
fn health_and_restarts_tell_how_it_runs() {
    type Change = fn(&mut Container);
    let health = |status: &str| Some(Health { status: status.to_owned(), said: None });
    assert_eq!(changed("orders-weft", |c| c.health = health("unhealthy")), ["orders-weft: Unhealthy: it is not ready"]);
    assert_eq!(
        changed("control-plane", |c| c.health = health("starting")),
        ["control-plane: Starting: it is not ready yet"]
    );
    assert_eq!(changed("orders-weft", |c| c.health = health("healthy")), [""; 0]);
    assert_eq!(changed("orders-net", |c| c.health = health("unhealthy")), ["orders-net: Unhealthy: it is not ready"]);
    let rows: [(Change, &str); 4] = [
        (|c| (c.status, c.restarts) = ("restarting".to_owned(), 1), "it starts again and again, 1 times by now"),
        (|c| (c.restarts, c.started) = (3, at(58)), "it starts again and again, 3 times by now"),
        (|c| (c.restarts, c.started) = (2, at(58)), ""),
        (|c| (c.restarts, c.started) = (9, at(20)), ""),
    ];
    for (change, reason) in rows {
        let expected: Vec<_> =
            [reason].iter().filter(|r| !r.is_empty()).map(|r| format!("control-plane: Restarting: {r}")).collect();
        assert_eq!(changed("control-plane", change), expected);
    }
}

#[test]
fn programs_may_end_but_not_fail() {
    let ended =
        |code: i64| changed("orders", |program| (program.status, program.exit_code) = ("exited".to_owned(), code));
    assert_eq!(ended(0), [""; 0]);
    assert_eq!(ended(137), ["orders: Down: it does not run: it has ended with code 137"]);
    let again = changed("orders", |program| program.status = "restarting".to_owned());
    assert_eq!(again, ["orders: Restarting: it starts again and again, 0 times by now"]);
    let health = Some(Health { status: "unhealthy".to_owned(), said: None });
    assert_eq!(changed("orders", |program| program.health = health), ["orders: Unhealthy: it is not ready"]);
}

#[test]
fn one_shots_must_have_ended_well() {
    let failed = changed("join", |container| container.exit_code = 1);
    assert_eq!(failed, ["join: Failed: it has failed, with code 1"]);
    let running = changed("join", |container| container.status = "running".to_owned());
    assert_eq!(running, ["join: Starting: it has not ended yet"]);
}

#[test]
fn who_is_in_the_network_of_a_holder_that_was_made_anew_is_found() {
    let orphaned = "its network is gone: the container that held it was made anew";
    let anew = changed("orders-net", |holder| holder.id = "id-new".to_owned());
    let expected = ["orders-weft", "orders"].map(|name| format!("{name}: Orphaned: {orphaned}"));
    assert_eq!(anew, expected);
}

#[test]
fn who_was_there_before_the_holder_started_again_is_found() {
    let gone = "it is in a network that is gone: orders-net has started anew since";
    let restarted = changed("orders-net", |holder| holder.started = at(30));
    assert_eq!(restarted, ["orders-weft", "orders"].map(|name| format!("{name}: Outlived: {gone}")));
}

#[test]
fn who_has_no_sidecar_is_told() {
    let mut all = shop();
    // A program whose own network the sidecar is in.
    all.push(container("by-hand", None));
    let mut beside = service("by-hand");
    beside.iter_mut().for_each(|container| container.within = Some("id-by-hand".to_owned()));
    all.extend(beside.into_iter().skip(1).take(1));
    all.push(container("metrics", None));
    let mut apart = container("apart", None);
    apart.networks = ["shop_other".to_owned()].into();
    let mut ended = container("ended", None);
    ended.status = "exited".to_owned();
    all.extend([apart, ended]);
    assert_eq!(found(&all), ["metrics: Outside: it has no sidecar: what it calls, it calls in plain text"]);
}

#[test]
fn two_services_of_one_name_are_found_but_not_instances_and_versions() {
    let second = |image: &str, label: Option<&str>| {
        let mut all = shop();
        let mut more = service("shop-v2");
        more[0].service = Some("orders".to_owned());
        more[1].labels = label.map(ToOwned::to_owned);
        more[2].image = image.to_owned();
        all.extend(more);
        found(&all)
    };
    assert_eq!(second("image", None), [""; 0], "instances");
    assert_eq!(second("image:v2", Some("version=v2")), [""; 0], "versions");
    assert_eq!(
        second("other", None),
        ["shop-v2-net: Twice: two services of one name: it and orders-net are both orders in the mesh"]
    );
}

#[test]
fn two_control_planes_on_one_network_are_found() {
    let mut all = shop();
    let mut other = container("other-control-plane", Some(Role::ControlPlane));
    other.project = Some("other".to_owned());
    all.push(other.clone());
    assert_eq!(
        found(&all),
        [
            "other-control-plane: Twice: it and control-plane are two control planes on one network: a sidecar may find either"
        ]
    );
    other.networks = ["other_default".to_owned()].into();
    *all.last_mut().unwrap() = other;
    assert_eq!(found(&all), [""; 0]);
}
