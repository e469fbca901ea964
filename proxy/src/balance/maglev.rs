//! Consistent hashing by a lookup table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
//! NSDI 2016, section 3.4): the endpoints take turns, and each takes the next free slot of a permutation of its own. By
//! weight, an endpoint takes its turn in that part of the rounds.
//!
//! Which slots an endpoint takes also depends on what the others took, so that a few keys move between endpoints that
//! stay; in return all have the same number of slots, to one.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::table::Member;

/// The sizes of tables, primes: a permutation is a step of any width. The paper asks for a hundred slots for each
/// endpoint; the larger one, 2.5 MiB, is for more than 655 endpoints.
const SIZES: [u32; 2] = [65_537, 655_373];
const SLOTS_PER_ENDPOINT: usize = 100;

const FREE: u32 = u32::MAX;

/// One endpoint's order of the slots, and how far it is.
struct Permutation {
    member: u32,
    weight: u64,
    next: u64,
    step: u64,
    /// It takes its turn when the rounds times its weight have come this far.
    due: u64,
}

/// The index of each slot's endpoint. Empty without members.
pub(super) fn build(members: &[Member]) -> Box<[u32]> {
    let [small, large] = SIZES;
    let size = if members.len() * SLOTS_PER_ENDPOINT <= small as usize { small } else { large };
    let heaviest = members.iter().map(|member| u64::from(member.weight)).max().unwrap_or(0);
    if heaviest == 0 {
        return Box::default();
    }
    let mut slots = vec![FREE; size as usize];
    let mut permutations = permutations(members, u64::from(size));
    let mut free = size;
    let mut round = 0;
    while free > 0 {
        round += 1;
        for permutation in &mut permutations {
            if free == 0 || round * permutation.weight < permutation.due {
                continue;
            }
            permutation.due += heaviest;
            take_next_free(&mut slots, permutation);
            free -= 1;
        }
    }
    slots.into()
}

/// In the same order wherever they are made, since turns are taken in it.
fn permutations(members: &[Member], size: u64) -> Vec<Permutation> {
    let mut ordered: Vec<(u32, &Member)> = (0..).zip(members).collect();
    ordered.sort_unstable_by_key(|(_, member)| member.seed);
    let permutation = |(index, member): (u32, &Member)| Permutation {
        member: index,
        weight: member.weight.into(),
        next: xxh3_64_with_seed(b"offset", member.seed) % size,
        step: xxh3_64_with_seed(b"step", member.seed) % (size - 1) + 1,
        due: 0,
    };
    ordered.into_iter().map(permutation).collect()
}

/// There must be a free slot: a permutation comes by all of them.
fn take_next_free(slots: &mut [u32], permutation: &mut Permutation) {
    let size = slots.len() as u64;
    for _ in 0..size {
        let slot = slots.get_mut(permutation.next as usize);
        permutation.next = (permutation.next + permutation.step) % size;
        if let Some(slot) = slot.filter(|slot| **slot == FREE) {
            *slot = permutation.member;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u32]) -> Vec<Member> {
        (0..)
            .zip(weights)
            .map(|(index, weight)| Member { seed: xxh3_64_with_seed(b"w", index), weight: *weight })
            .collect()
    }

    fn slots(weights: &[u32]) -> Vec<usize> {
        let table = build(&members(weights));
        (0..weights.len() as u32).map(|index| table.iter().filter(|owner| **owner == index).count()).collect()
    }

    #[test]
    fn the_slots_are_shared_to_one() {
        assert_eq!(slots(&[5]), [65_537]);
        let shared = slots(&[1; 10]);
        assert!(shared.iter().all(|count| (6553..=6554).contains(count)), "{shared:?}");
    }

    #[test]
    fn the_slots_are_shared_by_weight() {
        let shared = slots(&[1, 2, 7]);
        for (count, expected) in shared.iter().zip([6553, 13_107, 45_876]) {
            assert!(count.abs_diff(expected) <= 2, "{shared:?}");
        }
    }

    #[test]
    fn the_order_of_the_endpoints_does_not_matter() {
        let mut members = members(&[3, 1, 4, 1, 5]);
        let owners = |members: &[Member]| build(members).iter().map(|i| members[*i as usize].seed).collect::<Vec<_>>();
        let before = owners(&members);
        members.reverse();
        assert!(before == owners(&members));
    }

    #[test]
    fn many_endpoints_get_the_larger_table() {
        assert_eq!(build(&members(&vec![1; 656])).len(), SIZES[1] as usize);
        assert!(build(&[]).is_empty());
    }
}
