//! A first answer with a cookie, and requests that bring it back.

use std::collections::BTreeSet;

use http::Method;

use super::Policy;
use crate::demo::scene::Scene;

const VISITS: usize = 20;

pub async fn play(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    Policy::Session.apply(scene).await?;
    let first = scene.ask(Method::GET, "/", &[]).await?;
    let set = first.headers.get("set-cookie").cloned().unwrap_or_default();
    scene.check("the first answer sets the cookie", set.clone(), set.starts_with("seat="));
    let cookie = set.split(';').next().unwrap_or_default().to_owned();
    let mut with = BTreeSet::new();
    for _ in 0..VISITS {
        with.extend(scene.ask(Method::GET, "/", &[("cookie", &cookie)]).await?.instance);
    }
    let same = with.iter().eq(first.instance.as_ref());
    scene.check("with the cookie it is always the same instance", format!("{with:?} in {VISITS} visits"), same);
    Ok(())
}
