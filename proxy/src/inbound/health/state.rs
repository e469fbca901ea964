//! When an application counts as healthy: thresholds over what its checks find. Pure.

use std::time::Duration;

use weft_proxy_api::policy::HealthCheck;

/// How often an application is looked at that nobody can connect to, at most: that time is part of every start, and of
/// every end. It costs the application nothing.
pub const CLOSELY: Duration = Duration::from_millis(50);

/// What is known of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Healthy,
    /// In words: "GET /healthz answered 503".
    Unhealthy {
        cause: String,
    },
}

/// Why one check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub cause: String,
    /// There was a connection, so that somebody is there.
    pub is_connected: bool,
}

/// What the checks of one kind have found so far.
#[derive(Debug)]
pub struct Progress {
    health: Health,
    healthy_threshold: u32,
    unhealthy_threshold: u32,
    /// Outcomes in a row that contradict `health`.
    contrary: u32,
}

impl Progress {
    pub fn new(health: Health, check: &HealthCheck) -> Self {
        let HealthCheck { healthy_threshold, unhealthy_threshold, .. } = *check;
        Self { health, healthy_threshold, unhealthy_threshold, contrary: 0 }
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Takes one outcome in. While the application is unhealthy, the cause is that of the newest failure.
    pub fn record(&mut self, outcome: &Result<(), Failure>) {
        let (is_contrary, threshold) = match &self.health {
            Health::Healthy => (outcome.is_err(), self.unhealthy_threshold),
            Health::Unhealthy { .. } => (outcome.is_ok(), self.healthy_threshold),
        };
        self.contrary = if is_contrary { self.contrary + 1 } else { 0 };
        match outcome {
            Ok(()) if self.contrary >= threshold => self.health = Health::Healthy,
            Err(failure) if self.contrary >= threshold || self.health != Health::Healthy => {
                self.health = Health::Unhealthy { cause: failure.cause.clone() };
            }
            _ => return,
        }
        self.contrary = 0;
    }
}

/// How long to wait for the next check.
pub fn rest(outcome: &Result<(), Failure>, interval: Duration) -> Duration {
    match outcome {
        Err(failure) if !failure.is_connected => CLOSELY.min(interval),
        _ => interval,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weft_proxy_api::policy::CheckKind;

    use super::*;

    fn check(healthy_threshold: u32, unhealthy_threshold: u32) -> HealthCheck {
        HealthCheck {
            port: 1,
            traffic_port: None,
            kind: CheckKind::Tcp,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            healthy_threshold,
            unhealthy_threshold,
        }
    }

    fn unhealthy(cause: &str) -> Health {
        Health::Unhealthy { cause: cause.into() }
    }

    fn outcome(cause: char) -> Result<(), Failure> {
        match cause {
            '+' => Ok(()),
            cause => Err(Failure { cause: cause.into(), is_connected: true }),
        }
    }

    /// `+` is a success; anything else a failure with that cause. What comes out: `+`, or the cause.
    fn course(start: &str, thresholds: (u32, u32), outcomes: &str) -> String {
        let start = if start == "+" { Health::Healthy } else { unhealthy(start) };
        let mut progress = Progress::new(start, &check(thresholds.0, thresholds.1));
        let step = |cause: char| {
            progress.record(&outcome(cause));
            match progress.health() {
                Health::Healthy => "+".to_owned(),
                Health::Unhealthy { cause } => cause.clone(),
            }
        };
        outcomes.chars().map(step).collect()
    }

    #[test]
    fn so_many_in_a_row_change_it() {
        for (start, thresholds, outcomes, expected) in [
            ("?", (1, 2), "+", "+"),
            ("?", (1, 2), "a+", "a+"),
            ("+", (1, 2), "a+b+", "++++"),
            ("+", (1, 2), "ab", "+b"),
            ("+", (1, 2), "abcd+", "+bcd+"),
            ("+", (1, 1), "a+b+", "a+b+"),
            ("?", (3, 2), "++a+++", "??aaa+"),
            ("+", (3, 2), "ab++++", "+bbb++"),
            ("+", (2, 3), "ab+abc++a", "+++++cc++"),
        ] {
            assert_eq!(course(start, thresholds, outcomes), expected, "{start} {thresholds:?} {outcomes}");
        }
    }

    #[test]
    fn who_cannot_be_connected_to_is_looked_at_closely() {
        let interval = Duration::from_secs(2);
        let absent = Err(Failure { cause: String::new(), is_connected: false });
        assert_eq!(rest(&absent, interval), CLOSELY);
        assert_eq!(rest(&absent, Duration::from_millis(10)), Duration::from_millis(10));
        assert_eq!(rest(&outcome('a'), interval), interval);
        assert_eq!(rest(&Ok(()), interval), interval);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// It changes exactly when the last outcomes, as many as the threshold, all say the other thing.
        #[test]
        fn it_follows_the_last_outcomes(up in 1..4u32, down in 1..4u32, outcomes in prop::collection::vec(any::<bool>(), 0..60)) {
            let mut progress = Progress::new(unhealthy("?"), &check(up, down));
            for (index, ok) in outcomes.iter().enumerate() {
                let before = *progress.health() == Health::Healthy;
                progress.record(&outcome(if *ok { '+' } else { 'a' }));
                let after = *progress.health() == Health::Healthy;
                let needed = if before { down } else { up } as usize;
                let last = outcomes[..=index].iter().rev().take(needed);
                let is_turned = last.clone().count() == needed && last.clone().all(|ok| *ok != before);
                prop_assert_eq!(after != before, is_turned);
            }
        }
    }
}
