//! Consistent hashing on a ring: each endpoint has points on it, as many as its weight asks for, and a key belongs to
//! the endpoint of the next point. Who comes or goes takes or leaves only the keys before its own points.
//!
//! A point depends on nothing but its endpoint and its number. How many points one unit of weight has is a power of
//! two, so that it stays the same when a few endpoints come and go: an endpoint has about 128 to 256 of them, and fewer
//! where there are so many endpoints that the ring would become too large.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::table::Member;

const POINTS_PER_ENDPOINT: u64 = 256;
/// 12 bytes each. A ring is larger only where it has more endpoints than that.
const MAX_POINTS: u64 = 1 << 16;

/// The points in order, and the index of each one's endpoint.
pub(super) fn build(members: &[Member]) -> (Box<[u64]>, Box<[u32]>) {
    let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let room = (members.len() as u64 * POINTS_PER_ENDPOINT).min(MAX_POINTS);
    let mut points: Vec<(u64, u32)> = Vec::new();
    for (index, member) in (0..).zip(members) {
        let count = points_of(member.weight, total, room);
        points.extend((0..count).map(|number| (xxh3_64_with_seed(&number.to_le_bytes(), member.seed), index)));
    }
    points.sort_unstable();
    let (points, owners): (Vec<u64>, Vec<u32>) = points.into_iter().unzip();
    (points.into(), owners.into())
}

/// How many points an endpoint has on a ring with `room` for the sum of all weights; at least one.
fn points_of(weight: u32, total: u64, room: u64) -> u64 {
    let weight = u64::from(weight);
    let points = match room / total.max(1) {
        0 => {
            let shift = total.div_ceil(room.max(1)).next_power_of_two().trailing_zeros();
            weight >> shift
        }
        times => weight << times.ilog2(),
    };
    points.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_room_for_the_weights_and_no_more() {
        let points = |weights: &[u32], room| {
            let total = weights.iter().map(|weight| u64::from(*weight)).sum();
            weights.iter().map(|weight| points_of(*weight, total, room)).collect::<Vec<_>>()
        };
        assert_eq!(points(&[1, 1], 512), [256, 256]);
        assert_eq!(points(&[100, 100, 100], 768), [200, 200, 200]);
        assert_eq!(points(&[1, 2, 5], 768), [64, 128, 320]);
        assert_eq!(points(&[1, 1000], 512), [1, 500]);
        assert_eq!(points(&[u32::MAX, 1], 512), [511, 1]);
    }

    #[test]
    fn ten_thousand_endpoints_make_a_ring_of_bounded_size() {
        let members: Vec<Member> = (0..10_000).map(|seed| Member { seed, weight: 1 + seed as u32 % 7 }).collect();
        let (points, owners) = build(&members);
        assert_eq!(points.len(), owners.len());
        assert!(points.len() as u64 <= MAX_POINTS + 10_000, "{}", points.len());
        assert!(points.is_sorted());
    }
}
