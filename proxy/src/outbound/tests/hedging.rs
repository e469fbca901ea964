//! Requests that are sent to a second endpoint before the first has answered.

use std::sync::atomic::{AtomicUsize, Ordering};

use weft_proxy_api::policy::{Hedge, RetryBudget};

use super::{
    app::{OK, UNAVAILABLE},
    *,
};

const SOON: Duration = Duration::from_millis(100);
const HEDGES: &str = r#"weft_retries_total{backend="shop/orders:80",reason="hedge"}"#;

/// Applications that together do `first` with the first request, and answer the others.
async fn apps<const N: usize>(first: Act) -> [App; N] {
    let came = Arc::new(AtomicUsize::new(0));
    let mut apps = Vec::new();
    for _ in 0..N {
        let (came, first) = (came.clone(), first.clone());
        apps.push(
            App::start(move |_, _| if came.fetch_add(1, Ordering::Relaxed) == 0 { first.clone() } else { OK }).await,
        );
    }
    apps.try_into().unwrap_or_else(|_| unreachable!())
}

fn hedged<const N: usize>(apps: &[App; N], budget: RetryBudget) -> Mesh {
    hedged_after(SOON, apps, budget)
}

fn hedged_after<const N: usize>(after: Duration, apps: &[App; N], budget: RetryBudget) -> Mesh {
    Mesh::with(&apps.each_ref(), |service| {
        policies(service).timeouts.request = Some(10 * after);
        policies(service).retry.hedge = Some(Hedge { after, attempts: 1 });
        service.backends[0].retry_budget = budget;
    })
}

fn counts<const N: usize>(apps: &[App; N]) -> Vec<usize> {
    apps.iter().map(App::count).collect()
}

#[tokio::test]
async fn the_first_answer_is_taken() {
    for body in [Body::empty(), Body::full("hello")] {
        let apps = apps::<2>(Act::Hold).await;
        let mesh = hedged(&apps, RetryBudget::default());
        let answer = mesh.send(request(Method::PUT, body)).await;
        assert_eq!((answer.status, counts(&apps), mesh.metric(HEDGES)), (200, vec![1, 1], 1));
        let seen: Vec<_> = apps.iter().flat_map(App::seen).collect();
        assert_eq!(seen[0].body, seen[1].body);
        let second = seen.iter().filter(|seen| seen.field("weft-attempt-count") == Some("2")).count();
        assert_eq!(second, 1);
    }
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_not() {
    let apps = apps::<2>(Act::Hold).await;
    let mesh = hedged(&apps, RetryBudget::default());
    assert_eq!(mesh.send(request(Method::POST, Body::empty())).await.status, 504);
    assert_eq!(counts(&apps).iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn there_must_be_another_endpoint_and_a_budget() {
    let one = apps::<1>(Act::Hold).await;
    assert_eq!(hedged(&one, RetryBudget::default()).get().await.status, 504);
    assert_eq!(counts(&one), [1]);
    let two = apps::<2>(Act::Hold).await;
    let mesh = hedged(&two, RetryBudget { percent: 0, min_per_second: 0 });
    assert_eq!(mesh.get().await.status, 504);
    assert_eq!(counts(&two).iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn a_failure_is_no_answer_while_another_may_come() {
    let apps = apps::<2>(UNAVAILABLE).await;
    let mesh = hedged_after(PATIENCE, &apps, RetryBudget::default());
    let answer = mesh.get().await;
    assert_eq!((answer.status, mesh.metric(HEDGES)), (200, 0), "it failed before the other was due");
    assert_eq!(counts(&apps), [1, 1]);
}
