//! Times for people: how long ago, how long still.

use std::time::Duration;

use jiff::Timestamp;

/// `3m ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", coarse(between(then, now)))
}

/// `in 3m`, or `3m ago` when it has passed.
pub fn until(then: Timestamp, now: Timestamp) -> String {
    match then > now {
        true => format!("in {}", coarse(between(now, then))),
        false => ago(then, now),
    }
}

/// `2026-11-22 18:04:50 UTC`.
pub fn exact(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Rounded to the largest unit that fits at least twice.
fn coarse(duration: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(24 * 3600, "d"), (3600, "h"), (60, "m")];
    let seconds = duration.as_secs();
    let unit = UNITS.iter().find(|(size, _)| seconds >= 2 * size);
    unit.map_or_else(|| format!("{seconds}s"), |(size, name)| format!("{}{name}", (seconds + size / 2) / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_coarse() {
        let text = |seconds| coarse(Duration::from_secs(seconds));
        assert_eq!(text(0), "0s");
        assert_eq!(text(119), "119s");
        assert_eq!(text(120), "2m");
        assert_eq!(text(599), "10m");
        assert_eq!(text(7199), "120m");
        assert_eq!(text(7200), "2h");
        assert_eq!(text(86400 * 90), "90d");
    }

    #[test]
    fn past_and_future_read_differently() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-01T00:01:30Z".parse().unwrap();
        assert_eq!(until(later, now), "in 90s");
        assert_eq!(until(now, later), "90s ago");
        assert_eq!(ago(later, now), "0s ago", "a clock that is ahead is not an error");
        assert_eq!(exact(later), "2026-01-01 00:01:30 UTC");
    }
}
