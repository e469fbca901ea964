//! The six steps of the demo, one file each: what is typed, what is measured, what must hold.

mod breaker;
mod canary;
mod outage;
mod rollback;
mod sticky;
mod version_one;

use super::scene::Scene;

pub const COUNT: usize = 6;

pub fn title(number: usize) -> &'static str {
    match number {
        1 => "Every request goes to v1, over mutual TLS",
        2 => "A canary: 10 % of the requests go to v2",
        3 => "The same user always meets the same version",
        4 => "v2 fails: its circuit opens, v1 steps in, the circuit closes again",
        5 => "Rollback: everything goes to v1 again",
        _ => "The control plane is killed: traffic goes on, and nothing is lost",
    }
}

/// # Errors
/// The step could not be carried out; what was measured not to hold is in the scene's record instead.
pub async fn play(number: usize, scene: &mut Scene<'_>) -> anyhow::Result<()> {
    match number {
        1 => version_one::play(scene).await,
        2 => canary::play(scene).await,
        3 => sticky::play(scene).await,
        4 => breaker::play(scene).await,
        5 => rollback::play(scene).await,
        _ => outage::play(scene).await,
    }
}
