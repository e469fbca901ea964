//! Rate limits, by what callers get and applications see.

use std::time::{Duration, Instant};

use http::StatusCode;
use weft_tests::{Answer, Connection, ControlPlane, Sidecar, Workload, eventually, get, request, send};

/// For the service `orders`; `limits` are items of a YAML list.
fn policy(limits: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: RateLimitPolicy\n\
         metadata: {{name: orders}}\n\
         spec: {{targetRef: {{kind: Service, name: orders}}, limits: [{limits}]}}\n"
    )
}

async fn ask(caller: &Sidecar) -> Answer {
    get(caller.outbound(), "http://orders/").await
}

/// How many of so many requests were let through; all others were refused by a limit.
async fn through(caller: &Sidecar, requests: usize) -> usize {
    let mut count = 0;
    for _ in 0..requests {
        let answer = ask(caller).await;
        match answer.status {
            StatusCode::OK => count += 1,
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}"),
        }
    }
    count
}

#[tokio::test]
async fn a_total_limit_refuses_with_all_that_a_caller_needs_to_know() {
    let control_plane = ControlPlane::start().await;
    let orders = Workload::start(&control_plane, "orders", "v1").await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.apply(&policy("{requests: 5, interval: 1h}")).await;

    let first = ask(&caller).await;
    assert_eq!((first.status, first.text().as_str()), (StatusCode::OK, "v1"));
    assert_eq!(first.header("ratelimit-policy"), r#""default/orders/0";q=5;w=3600"#);
    assert!(first.header("ratelimit").starts_with(r#""default/orders/0";r=4;t="#), "{first:?}");
    assert_eq!(through(&caller, 7).await, 4);

    let refused = ask(&caller).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=720).contains(&wait), "one request flows in in 720 s: {refused:?}");
    assert_eq!(refused.header("ratelimit"), format!(r#""default/orders/0";r=0;t={wait}"#));
    assert_eq!(refused.header("ratelimit-policy"), r#""default/orders/0";q=5;w=3600"#);
    let why = refused.header("proxy-status");
    assert!(why.starts_with("weft-inbound; error=http_request_denied; "), "{why}");
    assert!(why.contains("the rate limit default/orders/0 lets 5 requests through in 3600s"), "{why}");
    assert!(!refused.header("x-request-id").is_empty());

    let call = request("http://orders/").header("content-type", "application/grpc");
    let call = send(caller.outbound(), call).await;
    assert_eq!((call.status, call.header("grpc-status").as_str()), (StatusCode::OK, "8"), "{call:?}");
    assert!(call.header("grpc-message").contains("default/orders/0"), "{call:?}");

    assert_eq!(orders.app.begun(), 5);
    let limited = r#"weft_rate_limited_total{limit="default/orders/0"}"#;
    assert_eq!(orders.sidecar.metric(limited).await, 5.0);
    let circuits = control_plane.json(&["circuits", "orders"]).await;
    assert!(!circuits.to_string().contains("open"), "a refusal is no failure: {circuits}");

    // What has nothing to do with the limit leaves it as it is.
    let config =
        "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\nspec: {drainTimeout: 9s}\n";
    control_plane.apply(config).await;
    assert_eq!(through(&caller, 3).await, 0);
    control_plane.weft(&["delete", "ratelimitpolicy", "orders"]).await.expect_ok();
    control_plane.settled().await;
    assert_eq!(through(&caller, 10).await, 10);
    assert_eq!(ask(&caller).await.header("ratelimit"), "");
}

#[tokio::test]
async fn each_caller_has_a_bucket_and_each_user_of_a_caller() {
    let control_plane = ControlPlane::start().await;
    let orders = Workload::start(&control_plane, "orders", "v1").await;
    let (web, batch) = (control_plane.sidecar("web").start().await, control_plane.sidecar("batch").start().await);
    let per_caller = "{name: caller, per: Identity, requests: 5, interval: 1h}";
    let per_user = "{name: user, match: {path: {type: PathPrefix, value: /users}}, per: Header, header: x-user, requests: 2, interval: 1h}";
    control_plane.apply(&policy(&format!("{per_caller}, {per_user}"))).await;
    assert_eq!(through(&web, 6).await, 5);
    assert_eq!(through(&batch, 2).await, 2, "the limit of one caller is nothing to another");

    let user = async |name: &str| send(batch.outbound(), request("http://orders/users/1").header("x-user", name)).await;
    let mut told = Vec::new();
    for name in ["ann", "ann", "ann", "bob", "bob"] {
        let answer = user(name).await;
        told.push((answer.status.as_u16(), answer.header("ratelimit")));
    }
    assert_eq!(told.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 200, 429, 200, 429]);
    assert!(told[2].1.starts_with(r#""default/orders/user";r=0;"#), "{told:?}");
    assert!(told[3].1.starts_with(r#""default/orders/caller";r=0;"#), "what was refused did not count: {told:?}");
    assert!(told[4].1.starts_with(r#""default/orders/caller";r=0;"#), "{told:?}");
    assert_eq!(orders.app.begun(), 10);
}

/// Three workloads of one service, all with a lease of the limit.
async fn three_that_share(control_plane: &ControlPlane, limit: &str) -> Vec<Workload> {
    let mut workloads = Vec::new();
    for version in ["v1", "v2", "v3"] {
        workloads.push(Workload::start(control_plane, "orders", version).await);
    }
    control_plane.apply(&policy(limit)).await;
    leased(&workloads, 1.0).await;
    workloads
}

async fn leased(workloads: &[Workload], wanted: f64) {
    for Workload { sidecar, .. } in workloads {
        eventually(&format!("the sidecar has a lease: {wanted}"), async || {
            let leased = sidecar.metric(r#"weft_rate_limit_leased{limit="default/orders/0"}"#).await;
            if leased == wanted { Ok(()) } else { Err(leased) }
        })
        .await;
    }
}

/// Asks from several sides for as long as this takes, and returns how many were let through, and in which time.
async fn flood(caller: &Sidecar, time: Duration) -> (u32, Duration) {
    let (start, outbound) = (Instant::now(), caller.outbound());
    let ask = || async move {
        let mut through = 0;
        let mut connection = Connection::open(outbound).await.unwrap();
        while start.elapsed() < time {
            let answer = connection.send(request("http://orders/")).await.unwrap();
            match answer.status {
                StatusCode::OK => through += 1,
                status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}"),
            }
        }
        through
    };
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    (a + b + c, start.elapsed())
}

/// No more than 40 at once and 20 in a second.
fn assert_within_the_limit(through: u32, time: Duration) {
    let most = 40.0 + 20.0 * time.as_secs_f64();
    assert!(f64::from(through) <= most, "{through} of {most} in {time:?}");
}

const SHARED: &str = "{requests: 20, interval: 1s, burst: 40, shared: true}";

#[tokio::test]
async fn workloads_share_a_limit_and_keep_to_it_while_the_control_plane_is_away() {
    let mut control_plane = ControlPlane::start().await;
    let workloads = three_that_share(&control_plane, SHARED).await;
    let caller = control_plane.sidecar("caller").start().await;
    let (through, time) = flood(&caller, Duration::from_secs(4)).await;
    assert_within_the_limit(through, time);
    assert!(through >= 40, "what flows in is let through: {through} in {time:?}");
    let begun: Vec<u64> = workloads.iter().map(|workload| workload.app.begun()).collect();
    assert!(begun.iter().all(|begun| *begun > 0), "{begun:?}");
    assert_eq!(begun.iter().sum::<u64>(), u64::from(through));

    control_plane.kill();
    leased(&workloads, 0.0).await;
    for Workload { sidecar, .. } in &workloads {
        eventually("it says that it is alone", async || {
            match sidecar.log_lines(&["enforces its part of it by itself", "default/orders/0"]) {
                lines if lines.is_empty() => Err(sidecar.log().join("\n")),
                _ => Ok(()),
            }
        })
        .await;
    }
    let (through, time) = flood(&caller, Duration::from_secs(3)).await;
    assert_within_the_limit(through, time);
    assert!(through > 0, "it goes on");

    control_plane.restart().await;
    leased(&workloads, 1.0).await;
    let (through, time) = flood(&caller, Duration::from_secs(3)).await;
    assert_within_the_limit(through, time);
    assert!(through > 0, "it goes on");
}
