//! Requests that belong to an endpoint: by their session, or by a key.

use http::{HeaderName, StatusCode};
use weft_proxy_api::{
    policy::{Algorithm, Cache, Carrier, CircuitBreaker, HashKey, Session},
    route::{Action, Split, Sticky, Target, WeightedBackend},
};

use super::{
    app::{OK, UNAVAILABLE},
    *,
};

const SEAT: HeaderName = HeaderName::from_static("x-seat");
const USER: HeaderName = HeaderName::from_static("x-user");

fn cookie() -> Option<Session> {
    Some(Session { carrier: Carrier::Cookie { name: "seat".into(), permanent: false }, absolute: None, idle: None })
}

async fn apps(count: usize) -> Vec<App> {
    let mut apps = Vec::new();
    for _ in 0..count {
        apps.push(App::start(|_, _| OK).await);
    }
    apps
}

fn name(service: &str) -> ServicePort {
    ServicePort::new("shop", service, 80)
}

/// A request with this header.
fn with(header: &HeaderName, value: &str) -> Request<Body> {
    let mut request = request(Method::GET, Body::empty());
    request.headers_mut().insert(header, value.parse().unwrap());
    request
}

impl Mesh {
    /// The service `orders` with two versions of these endpoints and weights.
    fn versions(&self, versions: [(&[App], u32); 2], change: impl FnOnce(&mut Service)) {
        let names = ["orders-v1", "orders-v2"].map(name);
        let mut service = Service::direct(Backend::new(names[0].clone()));
        service.backends.push(Backend::new(names[1].clone()));
        let share = |(name, (_, weight)): (&ServicePort, (_, u32))| WeightedBackend {
            weight,
            target: Target::Backend(name.clone()),
            filters: Default::default(),
        };
        let backends = names.iter().zip(versions).map(share).collect();
        service.rules[0].action = Action::Split(Split { backends, sticky: None });
        change(&mut service);
        let state = State::Service(service);
        let mut resources = vec![Resource::Destination(api::Destination { name: name("orders"), state })];
        for (name, (apps, _)) in names.into_iter().zip(versions) {
            let endpoints = apps.iter().map(|app| endpoint(app.address, None)).collect();
            resources.push(Resource::EndpointSet(EndpointSet { name, endpoints }));
        }
        self.cx.mesh.apply(resources, Vec::new());
    }

    /// The index of the app that answers, and what the answer says.
    async fn whom(&self, apps: &[&App], request: Request<Body>) -> (usize, Answer) {
        let before: Vec<usize> = apps.iter().map(|app| app.count()).collect();
        let answer = self.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.why());
        let index = (0..apps.len()).find(|index| apps[*index].count() > before[*index]);
        (index.expect("one of them has answered"), answer)
    }
}

impl Answer {
    /// The name and value of the cookie that it sets.
    fn cookie(&self) -> Option<String> {
        let line = self.headers.get("set-cookie")?.to_str().unwrap();
        assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
        line.split(';').next().map(str::to_owned)
    }
}

#[tokio::test]
async fn a_session_stays_at_its_endpoint_and_moves_when_that_is_gone() {
    let apps = apps(3).await;
    let all: Vec<&App> = apps.iter().collect();
    let mesh = Mesh::with(&all, |service| service.rules[0].policies.session = cookie());
    let (home, answer) = mesh.whom(&all, request(Method::GET, Body::empty())).await;
    let seat = answer.cookie().expect("a session begins");
    for _ in 0..20 {
        let (index, answer) = mesh.whom(&all, with(&http::header::COOKIE, &seat)).await;
        assert_eq!((index, answer.cookie()), (home, None), "the caller knows");
    }
    let others: Vec<&App> = (0..3).filter(|index| *index != home).map(|index| all[index]).collect();
    let endpoints = others.iter().map(|app| endpoint(app.address, None)).collect();
    mesh.publish(endpoints, |service| service.rules[0].policies.session = cookie());
    let (heir, answer) = mesh.whom(&others, with(&http::header::COOKIE, &seat)).await;
    let moved = answer.cookie().expect("the session has moved");
    for _ in 0..20 {
        assert_eq!(mesh.whom(&others, with(&http::header::COOKIE, &moved)).await.0, heir);
    }
}

#[tokio::test]
async fn a_session_in_a_header_stays_with_its_version_while_that_has_a_weight() {
    let (v1, v2) = (apps(2).await, apps(2).await);
    let all: Vec<&App> = v1.iter().chain(&v2).collect();
    let session = Some(Session { carrier: Carrier::Header(SEAT), absolute: None, idle: None });
    let mesh = Mesh::new();
    let publish = |weights: [u32; 2]| {
        let versions = [(&v1[..], weights[0]), (&v2[..], weights[1])];
        mesh.versions(versions, |service| service.rules[0].policies.session = session.clone());
    };
    publish([0, 1]);
    let (home, answer) = mesh.whom(&all, request(Method::GET, Body::empty())).await;
    let seat = answer.headers[SEAT].to_str().unwrap().to_owned();
    assert!(home >= 2, "v2");
    publish([99, 1]);
    for _ in 0..20 {
        let (index, answer) = mesh.whom(&all, with(&SEAT, &seat)).await;
        assert_eq!((index, answer.headers.get(SEAT)), (home, None), "whatever the weights are");
    }
    publish([1, 0]);
    let (index, answer) = mesh.whom(&all, with(&SEAT, &seat)).await;
    assert!(index < 2 && answer.headers.contains_key(SEAT), "v2 is to get nothing: {index}");
}

#[tokio::test]
async fn the_answer_of_a_fallback_leaves_the_session_where_it_is() {
    let (failing, fallback) = (App::start(|number, _| if number < 1 { OK } else { UNAVAILABLE }).await, apps(1).await);
    let mesh = Mesh::new();
    mesh.versions([(std::slice::from_ref(&failing), 1), (&fallback, 0)], |service| {
        service.rules[0].policies.session = cookie();
        service.rules[0].policies.retry.attempts = 1;
        service.backends[0].fallback = Some(name("orders-v2"));
        service.backends[0].circuit_breaker =
            CircuitBreaker { consecutive_failures: Some(1), ..CircuitBreaker::default() };
    });
    let seat = mesh.get().await.cookie().expect("a session begins");
    assert_eq!(mesh.send(with(&http::header::COOKIE, &seat)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let (_, answer) = mesh.whom(&[&fallback[0]], with(&http::header::COOKIE, &seat)).await;
    assert!(answer.why().contains("circuit open for shop/orders-v1:80"), "{}", answer.why());
    assert_eq!(answer.cookie(), None);
}

#[tokio::test]
async fn a_user_meets_the_same_endpoint_of_the_same_version() {
    for algorithm in [Algorithm::RingHash(HashKey::Header(USER)), Algorithm::Maglev(HashKey::Header(USER))] {
        let (v1, v2) = (apps(2).await, apps(2).await);
        let all: Vec<&App> = v1.iter().chain(&v2).collect();
        let sidecars = [Mesh::new(), Mesh::new()];
        for mesh in &sidecars {
            mesh.versions([(&v1, 1), (&v2, 1)], |service| {
                let Action::Split(split) = &mut service.rules[0].action else { panic!("a split") };
                split.sticky = Some(Sticky::Header(USER));
                service.backends.iter_mut().for_each(|backend| backend.load_balancer = algorithm.clone().into());
            });
        }
        let mut met = std::collections::BTreeSet::new();
        for user in 0..60 {
            let user = format!("user-{user}");
            let home = sidecars[0].whom(&all, with(&USER, &user)).await.0;
            for mesh in &sidecars {
                assert_eq!(mesh.whom(&all, with(&USER, &user)).await.0, home, "{algorithm:?} {user}");
            }
            met.insert(home);
        }
        assert_eq!(met.len(), 4, "{algorithm:?}: users of both versions are at both of its endpoints");
    }
}

#[tokio::test]
async fn what_is_kept_of_an_answer_is_nobodys_session() {
    let kept = Act::Say("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok");
    let app = App::start(move |_, _| kept.clone()).await;
    let mesh = Mesh::with(&[&app], |service| {
        let policies = &mut service.rules[0].policies;
        policies.session = Some(Session { carrier: Carrier::Header(SEAT), absolute: None, idle: None });
        policies.cache = Some(Cache { serve_fresh: true, ..Cache::default() });
    });
    assert!(mesh.get().await.headers.contains_key(SEAT));
    let other = mesh.get().await;
    assert_eq!((app.count(), other.status, other.headers.get(SEAT)), (1, 200, None));
}
