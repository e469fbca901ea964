//! What a browser asks before it sends a request, and what it looks for in the answer.

use http::Method;

use super::Policy;
use crate::demo::scene::Scene;

const ALLOWED: &str = "https://shop.example.com";
const OTHER: &str = "https://elsewhere.example.org";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::Cors.apply(scene).await?;
    scene.behave_v1(&Default::default()).await?;
    let preflight = [("origin", ALLOWED), ("access-control-request-method", "PUT")];
    let answer = scene.ask(Method::OPTIONS, "/", &preflight).await?;
    let methods = answer.headers.get("access-control-allow-methods").cloned().unwrap_or_default();
    let allowed = answer.headers.get(ALLOW_ORIGIN).is_some_and(|origin| origin == ALLOWED);
    let measured = format!("status {}, methods {methods}", answer.status);
    scene.check("a preflight is answered", measured, answer.status < 300 && allowed && methods.contains("PUT"));
    let met = scene.met_by_v1().await?;
    scene.check("orders has not seen it", format!("{met} requests"), met == 0);
    for (origin, expected) in [(ALLOWED, Some(ALLOWED)), (OTHER, None)] {
        let answer = scene.ask(Method::GET, "/", &[("origin", origin)]).await?;
        let said = answer.headers.get(ALLOW_ORIGIN).map(String::as_str);
        let what = if expected.is_some() { "may use the answer" } else { "may not" };
        scene.check(format!("{origin} {what}"), format!("{ALLOW_ORIGIN}: {said:?}"), said == expected);
    }
    Ok(())
}
