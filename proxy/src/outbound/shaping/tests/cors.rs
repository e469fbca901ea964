//! CORS, as browsers see it.

use http::Method;
use weft_proxy_api::policy::{AllowedOrigin, Cors};

use super::*;

const SHOP: (&str, &str) = ("origin", "https://shop.example.com");
const ASKED: (&str, &str) = ("access-control-request-method", "PUT");

fn cors() -> Option<Cors> {
    Some(Cors { allow_origins: vec![AllowedOrigin::new(SHOP.1)], ..Cors::default() })
}

#[tokio::test]
async fn a_preflight_is_answered_here_and_a_request_there() {
    let app = App::start().await;
    app.answers(200, &[("access-control-allow-origin", "*")], "ok");
    let mut mesh = Mesh::new(app.address);
    mesh.policies(|policies| policies.cors = cors());
    let answer = mesh.send(request("OPTIONS", "/", &[SHOP, ASKED], "")).await;
    assert_eq!((answer.status().as_u16(), app.asked()), (204, 0));
    assert_eq!(line(answer.headers(), "access-control-allow-origin"), SHOP.1);
    assert_eq!(line(answer.headers(), "access-control-allow-methods"), "PUT");
    assert!(line(answer.headers(), "proxy-status").contains("the preflight is answered by MeshService shop/orders"));

    let answer = mesh.get("/", &[SHOP]).await;
    assert_eq!((answer.status().as_u16(), app.asked()), (200, 1));
    assert_eq!(line(answer.headers(), "access-control-allow-origin"), SHOP.1);
    let answer = mesh.get("/", &[("origin", "https://evil.example.com")]).await;
    assert_eq!((answer.status().as_u16(), app.asked()), (200, 2), "the request passes");
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    assert_eq!(mesh.send(request("OPTIONS", "/", &[SHOP], "")).await.status(), 200, "OPTIONS that is no preflight");
    assert_eq!(app.asked(), 3);
}

#[tokio::test]
async fn a_preflight_is_up_to_the_rule_that_it_asks_about() {
    let app = App::start().await;
    let mut mesh = Mesh::new(app.address);
    let put = RouteMatch { method: Some(Method::PUT), ..RouteMatch::default() };
    mesh.rule_before(put, "orders", Policies { cors: cors(), ..Policies::default() });
    assert_eq!(mesh.send(request("OPTIONS", "/", &[SHOP, ASKED], "")).await.status(), 204);
    let other = [SHOP, ("access-control-request-method", "DELETE")];
    assert_eq!(mesh.send(request("OPTIONS", "/", &other, "")).await.status(), 200, "the application's own answer");
    assert_eq!(app.asked(), 1);
}

#[tokio::test]
async fn a_page_can_read_why_there_is_no_answer() {
    let mut mesh = Mesh::new(nobody().await);
    mesh.policies(|policies| policies.cors = cors());
    let answer = mesh.get("/", &[SHOP, ("x-request-id", "id-1")]).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(line(answer.headers(), "access-control-allow-origin"), SHOP.1);
    assert_eq!(line(answer.headers(), "x-request-id"), "id-1");
    assert!(line(answer.headers(), "proxy-status").contains("error=connection_refused"));
}
