use serde_json::json;

use super::*;

fn project(services: Value) -> Project {
    serde_json::from_value(json!({"name": "shop", "services": services})).unwrap()
}

fn choices(only: &[&str], exclude: &[&str], ports: &[(&str, &[u16])], calls_only: &[&str]) -> Choices {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Choices {
        only: set(only),
        exclude: set(exclude),
        ports: ports.iter().map(|(name, ports)| ((*name).to_owned(), ports.to_vec())).collect(),
        calls_only: set(calls_only),
        shared_network: false,
    }
}

fn decided(services: Value, choices: &Choices) -> Plan {
    decide(&project(services), choices, &Images::new()).unwrap()
}

/// The problems of a project, each as a line.
fn refused(services: Value, choices: &Choices) -> Vec<String> {
    refused_project(&project(services), choices)
}

fn refused_project(project: &Project, choices: &Choices) -> Vec<String> {
    match decide(project, choices, &Images::new()).unwrap_err() {
        Rejection::Problems(problems) => problems
            .iter()
            .map(|problem| format!("{}: {}", problem.object.as_deref().unwrap_or("-"), problem.reason))
            .collect(),
        Rejection::Usage(reason) => panic!("{reason}"),
    }
}

fn usage(services: Value, choices: &Choices) -> String {
    match decide(&project(services), choices, &Images::new()).unwrap_err() {
        Rejection::Usage(reason) => reason,
        Rejection::Problems(problems) => panic!("{problems:?}"),
    }
}

#[test]
fn ports_come_from_the_project_and_the_image_in_the_order_of_who_means_them_most() {
    let services = json!({"front": {
        "image": "nginx",
        "ports": [{"target": 8443, "published": "443", "protocol": "tcp"}, {"target": 53, "protocol": "udp"}],
        "expose": ["9000", "443"],
    }});
    let images = Images::from([("front".to_owned(), Exposed::of(["80/tcp", "443/tcp"].into_iter()))]);
    let plan = decide(&project(services.clone()), &Choices::default(), &images).unwrap();
    assert_eq!(plan.members[0].ports, [8443, 443, 9000, 80]);
    assert_eq!(plan.members[0].published, [8443]);
    assert_eq!(plan.members[0].notes, ["its UDP ports go past the mesh"]);

    let said = choices(&[], &[], &[("front", &[9000])], &[]);
    let plan = decide(&project(services), &said, &images).unwrap();
    assert_eq!((plan.members[0].ports.as_slice(), plan.members[0].published.len()), ([9000].as_slice(), 0));
    assert!(plan.members[0].notes.iter().any(|note| note.contains("publishes 8443")), "{:?}", plan.members[0].notes);
}

#[test]
fn images_are_asked_about_only_where_it_matters() {
    let project = project(json!({"a": {}, "b": {}, "c": {}, "d": {}, "e": {"network_mode": "host"}}));
    let choices = choices(&[], &["d"], &[("b", &[1])], &["c"]);
    assert_eq!(asked(&project, &choices).map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_service_that_only_calls_has_no_ports() {
    let plan = decided(json!({"worker": {"expose": ["80"]}}), &choices(&[], &[], &[], &["worker"]));
    assert!(plan.members[0].ports.is_empty());
    let published = json!({"worker": {"ports": [{"target": 80}]}});
    assert_eq!(
        refused(published, &choices(&[], &[], &[], &["worker"])),
        ["service worker: it publishes 80, and so does not only call"]
    );
}

#[test]
fn who_cannot_have_a_sidecar_is_left_out_with_the_reason() {
    let rows: [(Value, &str, bool); 9] = [
        (json!({"network_mode": "none"}), "no network", false),
        (json!({"network_mode": "host"}), "network of the host", true),
        (json!({"network_mode": "container:x"}), "network_mode: container:x", true),
        (json!({"network_mode": "service:other"}), "network_mode: service:other", true),
        (json!({"network_mode": "service:a"}), "in the network of a, whose sidecar", false),
        (json!({"scale": 3}), "3 instances", true),
        (json!({"deploy": {"replicas": 2}}), "2 instances", true),
        (json!({"deploy": {"replicas": 0}}), "scaled to 0", false),
        (json!({"expose": ["53/udp"]}), "all of its ports are UDP", true),
    ];
    for (service, reason, open) in rows {
        let plan = decided(json!({"a": {"expose": ["80"]}, "b": service}), &Choices::default());
        assert_eq!(plan.members.len(), 1, "{reason}");
        assert_eq!(plan.left_out[0].service, "b");
        assert!(plan.left_out[0].reason.contains(reason), "{reason}: {}", plan.left_out[0].reason);
        assert_eq!(plan.open(), open, "{reason}");
    }
}

#[test]
fn flags_choose_the_services() {
    let services = json!({"a": {"expose": ["80"]}, "b": {"expose": ["80"]}, "c": {}});
    let of = |choices: Choices| {
        let plan = decided(services.clone(), &choices);
        let members: Vec<_> = plan.members.iter().map(|member| member.service.clone()).collect();
        let left: Vec<_> = plan.left_out.iter().map(|left| format!("{}: {}", left.service, left.reason)).collect();
        (members.join(","), left.join(","))
    };
    assert_eq!(of(choices(&[], &["c"], &[], &[])), ("a,b".to_owned(), "c: --exclude names it".to_owned()));
    let only = of(choices(&["a"], &[], &[], &[]));
    assert_eq!(only, ("a".to_owned(), "b: --only does not name it,c: --only does not name it".to_owned()));
    for (choices, flag) in [
        (choices(&["x"], &[], &[], &[]), "--only x"),
        (choices(&[], &["x"], &[], &[]), "--exclude x"),
        (choices(&[], &[], &[("x", &[1])], &[]), "--port x"),
        (choices(&[], &[], &[], &["x"]), "--calls-only x"),
        (choices(&[], &[], &[("a", &[1])], &["a"]), "both name a"),
    ] {
        assert!(usage(services.clone(), &choices).contains(flag), "{flag}");
    }
}

#[test]
fn what_does_not_fit_is_refused_all_at_once() {
    let services = json!({
        "a": {},
        "b": {"expose": ["15001", "80"]},
        "c": {"expose": ["80"], "user": "2102:100"},
        "d": {"expose": ["1-100"]},
        "b-net": {"expose": ["80"]},
        "weft-control-plane": {"network_mode": "host"},
    });
    assert_eq!(
        refused(services, &Choices::default()),
        [
            "service a: nobody says on which port it listens",
            "service b: its port 15001 is one that its sidecar needs",
            "service c: it runs as user 2102, whose traffic is the sidecar's own",
            "service d: it has 100 ports, more than 64",
            "service weft-control-plane: a part of the mesh is to have this name",
        ]
    );
    assert_eq!(
        refused(json!({"a": {"network_mode": "none"}}), &Choices::default()),
        ["-: no service of the project can have a sidecar"]
    );
}

#[test]
fn names_that_would_be_taken_twice_are_refused() {
    let serving = |more: Value| {
        let mut service = json!({"expose": ["80"]});
        service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service
    };
    let on = |networks: Value| serving(json!({"networks": networks}));
    let rows = [
        (
            json!({"a": serving(json!({})), "a-weft": serving(json!({}))}),
            vec!["service a-weft: what is added beside a is to have this name"],
        ),
        (
            json!({"my_app": on(json!({"x": null})), "my-app": on(json!({"y": null}))}),
            vec!["service my_app: two services of one name: in the mesh, it and my-app are my-app"],
        ),
        (
            json!({"a": on(json!({"x": {"aliases": ["db"]}})), "b": on(json!({"x": {"aliases": ["db"]}}))}),
            vec!["service b: two services of one name: a and it are both found as \"db\""],
        ),
        (json!({"a": on(json!({"x": {"aliases": ["db"]}})), "b": on(json!({"y": {"aliases": ["db"]}}))}), vec![]),
        (
            json!({"a": on(json!({"x": {"aliases": ["b"]}})), "b": on(json!({"y": null}))}),
            vec!["service b: two services of one name: a and it are both found as \"b\""],
        ),
        (
            json!({"a": serving(json!({"container_name": "b"})), "b": serving(json!({}))}),
            vec!["service b: two services of one name: a and it are both found as \"b\""],
        ),
        (json!({"my_app": on(json!({"x": null})), "my-app": on(json!({"x": null})), "b": serving(json!({}))}), vec![]),
        (
            json!({"-a": serving(json!({}))}),
            vec!["service -a: a name in the mesh is a DNS label: at most 63 letters, digits and -, and no - at an end"],
        ),
        (
            json!({"a": serving(json!({})), "a-net": serving(json!({"labels": {"dev.weft.role": "network"}}))}),
            vec!["service a-net: it is a part of the mesh already: the file that weft writes is among those read"],
        ),
    ];
    for (services, expected) in rows {
        if expected.is_empty() {
            let out = choices(&[], if services.get("my_app").is_some() { &["my_app"] } else { &[] }, &[], &[]);
            assert_eq!(decided(services, &out).members.len(), 2);
        } else {
            assert_eq!(refused(services, &Choices::default()), expected);
        }
    }
}

#[test]
fn volumes_and_configs_of_the_project_keep_their_names() {
    let model = json!({
        "name": "shop",
        "services": {"a": {"expose": ["80"]}},
        "volumes": {"a-weft": {}, "weft-control-plane": null},
        "configs": {"weft-rules": {}},
    });
    assert_eq!(
        refused_project(&serde_json::from_value(model).unwrap(), &Choices::default()),
        [
            "volume a-weft: a volume of the mesh is to have this name",
            "volume weft-control-plane: a volume of the mesh is to have this name",
            "config weft-rules: the rules of the mesh are to have this name",
        ]
    );
}

#[test]
fn what_belongs_to_the_network_moves_with_it() {
    let services = json!({
        "My_App": {
            "expose": ["80"],
            "container_name": "app",
            "hostname": "h",
            "dns": ["1.1.1.1"],
            "extra_hosts": [],
            "links": ["db:database", "outside"],
            "networks": {"x": {"aliases": ["other", "app"], "ipv4_address": "10.0.0.9", "gw_priority": null}, "y": null},
        },
        "db": {"expose": ["1"], "networks": {"x": null}},
        "outside": {"network_mode": "host"},
        "beside": {"scale": 2, "links": ["db:d", "outside"]},
        "apart": {"scale": 2, "links": ["outside"]},
    });
    let plan = decided(services, &Choices::default());
    let member = &plan.members[0];
    assert_eq!(member.mesh, "my-app");
    assert_eq!(
        Value::from_iter(member.networks.clone()),
        json!({
            "x": {"ipv4_address": "10.0.0.9", "aliases": ["My_App", "my-app", "app", "other"]},
            "y": {"aliases": ["My_App", "my-app", "app"]},
        })
    );
    assert_eq!(
        member.moved,
        [
            ("hostname", json!("h")),
            ("expose", json!(["80"])),
            ("dns", json!(["1.1.1.1"])),
            ("links", json!(["db-net:database", "outside"])),
        ]
    );
    assert_eq!(plan.relinked, [("beside".to_owned(), json!(["db-net:d", "outside"]))]);
}

#[test]
fn who_cannot_call_across_networks_is_told() {
    let on = |networks: &[&str], depends_on: &[&str]| {
        let networks: serde_json::Map<_, _> = networks.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        let depends_on: serde_json::Map<_, _> =
            depends_on.iter().map(|name| ((*name).to_owned(), json!({"condition": "service_started"}))).collect();
        json!({"expose": ["80"], "networks": networks, "depends_on": depends_on})
    };
    let services = json!({
        "api": on(&["private", "public"], &["db"]), "db": on(&["private"], &[]), "front": on(&["public"], &["api"]),
    });
    let plan = decided(services.clone(), &Choices::default());
    let of = |index: usize| (plan.members[index].reached.network.as_str(), plan.members[index].reached.chosen);
    assert_eq!([of(0), of(1), of(2)], [("public", true), ("private", false), ("public", false)]);
    assert!(
        plan.members[0].notes[0].contains("on the network public: db cannot call it"),
        "{:?}",
        plan.members[0].notes
    );

    let shared = decided(services, &Choices { shared_network: true, ..Choices::default() });
    for member in &shared.members {
        assert_eq!((member.reached.network.as_str(), member.notes.len()), ("weft", 0));
        assert!(member.networks.contains_key("weft"));
    }
}
