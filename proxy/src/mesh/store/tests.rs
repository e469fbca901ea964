use weft_certs::{Ca, SpiffeId};
use weft_proxy_api::{Backend, Destination as Wire, EndpointSet, Kind as ResourceKind, Service};

use super::*;

fn store() -> (Arc<Store>, mpsc::UnboundedReceiver<(ResourceKind, String)>) {
    let trust_domain: weft_certs::TrustDomain = "weft.local".parse().unwrap();
    let now = std::time::SystemTime::now();
    let ca = Ca::create(trust_domain.clone(), now).unwrap();
    let id = SpiffeId::workload(&trust_domain, "shop", "frontend").unwrap();
    let identity = Identity::new(ca.issue(&id, Duration::from_secs(60), now).unwrap(), ca.trust_bundle());
    let metrics = Arc::new(Metrics::new());
    let access_log = Arc::new(AccessLog::start(metrics.access_log_dropped.clone()).unwrap());
    Store::new(identity, metrics, access_log, "")
}

fn name(service: &str) -> ServicePort {
    ServicePort::new("shop", service, 80)
}

fn asked_for(service: &str) -> (ResourceKind, String) {
    (ResourceKind::Destination, name(service).to_string())
}

fn leads_to(service: &str, backend: &str) -> Resource {
    let state = State::Service(Service::direct(Backend::new(name(backend))));
    Resource::Destination(Wire { name: name(service), state })
}

fn unknown(service: &str, nearest: Option<&str>) -> Resource {
    let state = State::Unknown { nearest: nearest.map(str::to_owned) };
    Resource::Destination(Wire { name: name(service), state })
}

fn endpoints(service: &str, ports: &[u16]) -> Resource {
    let endpoint = |port: &u16| Endpoint {
        id: format!("{service}-{port}"),
        address: ([127, 0, 0, 1], *port).into(),
        identity: None,
        weight: 1,
        zone: String::new(),
        healthy: true,
    };
    Resource::EndpointSet(EndpointSet { name: name(service), endpoints: ports.iter().map(endpoint).collect() })
}

async fn backend_of(store: &Store, service: &str) -> Arc<super::super::Backend> {
    let destination = store.destination(&name(service), Duration::ZERO).await.expect("the destination is live");
    match &destination.rules[0].action {
        compile::Action::Forward(forward) => match &forward.shares[0].to {
            compile::To::Backend { backend, .. } => backend.clone(),
            compile::To::Nowhere(reason) => panic!("{reason}"),
        },
        compile::Action::Redirect(_) => panic!("a redirect"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_is_asked_for_and_waited_for() {
    let (store, mut asked) = store();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.destination(&name("orders"), Duration::from_secs(5)).await.map(|d| d.name.clone()) }
    });
    assert_eq!(asked.recv().await, Some(asked_for("orders")));
    store.apply(vec![leads_to("orders", "orders"), endpoints("orders", &[1])], Vec::new());
    assert_eq!(waiting.await.unwrap().unwrap(), name("orders"));
}

#[tokio::test(start_paused = true)]
async fn silence_of_the_control_plane_is_an_error_that_says_so() {
    let (store, _asked) = store();
    let error = store.destination(&name("orders"), Duration::from_secs(5)).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind, Kind::NoConfiguration);
    assert!(error.details.contains("shop/orders:80"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_once_until_it_is_answered() {
    let (store, mut asked) = store();
    for _ in 0..3 {
        assert!(store.destination(&name("orders"), Duration::from_secs(1)).await.is_err());
    }
    assert_eq!(asked.try_recv(), Ok(asked_for("orders")));
    assert!(asked.try_recv().is_err());

    store.apply(Vec::new(), vec![(ResourceKind::Destination, name("orders").to_string())]);
    assert!(store.destination(&name("orders"), Duration::from_secs(1)).await.is_err());
    assert_eq!(asked.try_recv(), Ok(asked_for("orders")), "what the control plane took back is asked for again");
}

#[tokio::test]
async fn an_unknown_service_is_answered_with_the_nearest_name_until_it_comes_to_be() {
    let (store, _asked) = store();
    store.apply(vec![unknown("ordrs", Some("shop/orders"))], Vec::new());
    let error = store.destination(&name("ordrs"), Duration::ZERO).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind, Kind::UnknownService);
    assert!(error.details.contains("did you mean shop/orders?"), "{error}");

    store.apply(vec![leads_to("ordrs", "ordrs"), endpoints("ordrs", &[1])], Vec::new());
    assert!(store.destination(&name("ordrs"), Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn an_update_waits_for_the_endpoints_of_its_backends_and_the_old_one_serves_meanwhile() {
    let (store, _asked) = store();
    store.apply(vec![leads_to("orders", "v1"), endpoints("v1", &[1])], Vec::new());
    assert_eq!(&*backend_of(&store, "orders").await.label, "shop/v1:80");

    store.apply(vec![leads_to("orders", "v2")], Vec::new());
    assert_eq!(&*backend_of(&store, "orders").await.label, "shop/v1:80");
    assert_eq!(store.needed_endpoints(), [name("v2")].into());

    store.apply(vec![endpoints("v2", &[2])], Vec::new());
    let backend = backend_of(&store, "orders").await;
    assert_eq!(&*backend.label, "shop/v2:80");
    assert_eq!(backend.balancer.endpoints().len(), 1);
}

#[tokio::test]
async fn what_a_backend_has_learned_survives_an_update_of_its_policies() {
    let (store, _asked) = store();
    store.apply(vec![leads_to("orders", "orders"), endpoints("orders", &[1, 2])], Vec::new());
    let before = backend_of(&store, "orders").await;

    let settings = Backend { max_ejected_percent: 10, ..Backend::new(name("orders")) };
    let state = State::Service(Service::direct(settings));
    store.apply(vec![Resource::Destination(Wire { name: name("orders"), state })], Vec::new());
    let after = backend_of(&store, "orders").await;
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(Arc::ptr_eq(&before.breaker, &after.breaker));
    assert!(Arc::ptr_eq(&before.balancer.endpoints()[0], &after.balancer.endpoints()[0]));
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_uses_are_forgotten_and_a_flood_of_them_is_stopped() {
    let (store, mut asked) = store();
    let flood = (0..UNKNOWN_LIMIT).map(|n| unknown(&format!("no-{n}"), None)).collect();
    store.apply(flood, Vec::new());
    let error = store.destination(&name("one-more"), Duration::from_secs(5)).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind, Kind::NoConfiguration);
    assert!(asked.try_recv().is_err(), "a flood is not passed on");

    assert!(store.forgotten(Duration::from_secs(3600)).is_empty());
    store.apply(Vec::new(), vec![(ResourceKind::Destination, name("no-1").to_string())]);
    assert_eq!(store.destinations().len(), UNKNOWN_LIMIT - 1);
}
