use alloc::{collections::BTreeSet, format, string::ToString, vec::Vec};
use core::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn layouts_that_can_not_be() {
    assert_eq!(Layout::new(8, 8, 0, 20), Err(LayoutError::SlotBits(0)));
    assert_eq!(Layout::new(8, 8, 27, 20), Err(LayoutError::SlotBits(27)));
    assert_eq!(Layout::new(60, 5, 8, 20), Err(LayoutError::TooManyBits(65)));
    assert_eq!(Layout::new(8, 8, 1, 2), Err(LayoutError::FullSize { needed: 3, full_size: 2 }));
    assert_eq!(Layout::new(8, 8, 8, 33), Err(LayoutError::FullSize { needed: 3, full_size: 33 }));
    assert_eq!(Layout::new(8, 16, 24, 20), Ok(Layout::SV2_DEFAULT));
    assert_eq!(Layout::new(2, 10, 20, 12), Ok(Layout::SV1_DEFAULT));
    assert_eq!(Layout::SV1_DEFAULT.max_rollable(), 8);
    let space = Space::new(Layout::new(2, 0, 4, 1).unwrap(), 4, 0);
    assert_eq!(space.map(|_| ()), Err(LayoutError::ServerId { server_id: 4, bits: 2 }));
}

#[test]
fn bits_are_packed_server_epoch_slot() {
    let layout = Layout::new(4, 6, 5, 8).unwrap();
    let space = Space::new(layout, 0b1010, 0b11_000011).unwrap();
    let slots: Vec<_> = (0..3).map(|_| space.allocate().unwrap()).collect();
    // 1010 000011 00010, then one zero bit; the two top bits of the epoch are cut.
    assert_eq!(slots[2].full_prefix().as_bytes(), [0b1010_0000, 0b1100_0100, 0, 0, 0, 0, 0, 0]);
    assert_eq!(slots[2].prefix(6).unwrap().as_bytes(), [0b1010_0000, 0b1100_0100]);
    assert_eq!(slots[2].prefix(7), Err(LayoutError::Rollable { wanted: 7, available: 6 }));
}

#[test]
fn widest_layout_fits() {
    let layout = Layout::new(0, 64, 26, 32).unwrap();
    let space = Space::new(layout, 0, u64::MAX).unwrap();
    let prefix = space.allocate().unwrap().full_prefix();
    assert_eq!((prefix.len(), &prefix.as_bytes()[..9]), (32, &[255, 255, 255, 255, 255, 255, 255, 255, 0][..]));
    let layout = Layout::new(64, 0, 1, 9).unwrap();
    assert!(Space::new(layout, u64::MAX, 7).is_ok());
}

#[test]
fn shown_for_people() {
    let mut space = Space::new(Layout::new(8, 0, 4, 2).unwrap(), 0xab, 0).unwrap();
    let slot = space.allocate().unwrap();
    drop(space.allocate());
    assert_eq!(format!("{} {:?}", slot.full_prefix(), slot.prefix(0).unwrap()), "ab00 Extranonce(ab00)");
    assert_eq!(format!("{slot:?}"), "Slot(0)");
    space = space.clone();
    let text = format!("{space:?}");
    assert!(
        text.starts_with("Space { layout: Layout { server_bits: 8,") && text.ends_with("live: 1, resting: 1, .. }"),
        "{text}"
    );
    let errors = [
        (LayoutError::SlotBits(27), "expected 1 to 26 bits for slots, got 27"),
        (LayoutError::TooManyBits(65), "expected at most 64 bits for server and epoch together, got 65"),
        (LayoutError::FullSize { needed: 3, full_size: 2 }, "expected a full extranonce of 3 to 32 bytes, got 2"),
        (LayoutError::ServerId { server_id: 4, bits: 2 }, "expected a server id of at most 2 bits, got 4"),
        (
            LayoutError::Rollable { wanted: 7, available: 6 },
            "expected at most 6 extranonce bytes to be asked for, got 7",
        ),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(ExtranonceTooLong(33).to_string(), "expected an extranonce of at most 32 bytes, got 33");
}

#[test]
fn extranonces_are_joined_up_to_the_bound() {
    let long = Extranonce::zeroed(32).unwrap();
    assert_eq!(Extranonce::zeroed(33), Err(ExtranonceTooLong(33)));
    assert_eq!(Extranonce::from_counter(0, 33), Err(ExtranonceTooLong(33)));
    assert_eq!((long.len(), long.is_empty(), Extranonce::EMPTY.is_empty()), (32, false, true));
    assert_eq!(long.join(&[1]), Err(ExtranonceTooLong(33)));
    assert_eq!(long.join(&[]), Ok(long));
    let joined = Extranonce::try_from(&[1, 2][..]).unwrap().join(&[3]).unwrap();
    assert_eq!((joined.as_bytes(), joined.len()), (&[1, 2, 3][..], 3));
    assert_eq!((joined.tail(1).as_bytes(), joined.tail(4)), (&[2, 3][..], Extranonce::EMPTY));
}

/// A space of 2^`bits` slots without a name, and who frees them.
fn small(bits: u8) -> (Space, Recycler) {
    let space = Space::new(Layout::new(0, 0, bits, 4).unwrap(), 0, 0).unwrap();
    let recycler = space.recycler().unwrap();
    (space, recycler)
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(1_000_000 + seconds)
}

#[test]
fn a_slot_is_held_by_every_clone_rests_and_comes_back_last() {
    let (space, mut recycler) = small(3);
    assert!(space.recycler().is_none() && space.clone().recycler().is_none(), "one for each space");
    let first = space.allocate().unwrap();
    let held_by_a_job = first.clone();
    drop(first);
    assert_eq!((space.live(), space.resting()), (1, 0));
    drop(held_by_a_job);
    assert_eq!((space.live(), space.resting()), (0, 1));
    (1..=4).for_each(|tip| assert_eq!(recycler.on_tip(at(tip)), u32::from(tip == 4)));
    assert_eq!((space.live(), space.resting()), (0, 0));
    let slots: Vec<Slot> = (0..8).map(|_| space.allocate().unwrap()).collect();
    assert_eq!(slots.iter().map(Slot::index).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 0]);
}

#[test]
fn slots_are_given_out_in_turn_across_words() {
    let (space, mut recycler) = small(7);
    let mut slots: Vec<Slot> = (0..40).map(|_| space.allocate().unwrap()).collect();
    slots.drain(..10);
    (1..=4).for_each(|tip| assert_eq!(recycler.on_tip(at(tip)), if tip == 4 { 10 } else { 0 }));
    slots.extend((0..98).map(|_| space.allocate().unwrap()));
    let indices: Vec<u32> = slots[30..].iter().map(Slot::index).collect();
    assert_eq!(indices, (40..128).chain(0..10).collect::<Vec<u32>>());
}

#[test]
fn a_slot_rests_for_the_next_tip_and_three_more() {
    let (space, mut recycler) = small(3);
    assert_eq!(recycler.on_tip(at(0)), 0);
    drop(space.allocate().unwrap());
    // Tips 1 and 2 come too soon for a turn; 3 begins the slot's second half, 4 and 5 come too soon again.
    for tip in 1..=5 {
        assert_eq!(recycler.on_tip(at(tip)), 0, "tip {tip}");
        assert_eq!(space.resting(), 1);
    }
    assert_eq!(recycler.on_tip(at(6)), 1);
    assert_eq!((space.live(), space.resting()), (0, 0));
}

#[test]
fn a_slot_rests_for_ten_minutes_behind_the_next_tip() {
    let (space, mut recycler) = small(3);
    recycler.on_tip(at(0));
    drop(space.allocate().unwrap());
    // However long it takes, the jobs of now end with a tip.
    assert_eq!(recycler.on_tip(at(10_000)), 0);
    assert_eq!(recycler.on_tip(at(10_600)), 0, "a job is known for 600 s, that one included");
    assert_eq!(recycler.on_tip(at(10_601)), 1);
    // A clock that steps back waits for tips.
    drop(space.allocate().unwrap());
    (0..3).for_each(|_| assert_eq!(recycler.on_tip(at(0)), 0));
}

#[test]
fn exhaustion_is_an_error_and_passes() {
    let (space, mut recycler) = small(7);
    let mut slots: Vec<_> = (0..128).map(|_| space.allocate().unwrap()).collect();
    let exhausted = |resting| Err(Exhausted { slots: 128, resting });
    assert_eq!(space.allocate().map(|slot| slot.index()), exhausted(0));
    slots.remove(70);
    assert_eq!(space.allocate().map(|slot| slot.index()), exhausted(1));
    (0..4).for_each(|tip| assert_eq!(recycler.on_tip(at(tip)), u32::from(tip == 3)));
    let again = space.allocate().unwrap();
    assert_eq!(again.index(), 70);
    assert_eq!(space.allocate().map(|slot| slot.index()), exhausted(0));
    let text = Exhausted { slots: 128, resting: 3 }.to_string();
    assert_eq!(text, "expected a free extranonce slot, got all 128 taken, 3 of them by channels closed lately");
}

#[test]
fn without_a_recycler_no_slot_is_used_twice() {
    let space = Space::new(Layout::new(0, 0, 5, 4).unwrap(), 0, 0).unwrap();
    let indices: BTreeSet<u32> = (0..32).map(|_| space.allocate().unwrap().index()).collect();
    assert_eq!((indices.len(), space.live()), (32, 0));
    assert_eq!(space.allocate().map(|slot| slot.index()), Err(Exhausted { slots: 32, resting: 32 }));
}

#[cfg(feature = "std")]
#[test]
fn threads_never_share_a_slot() {
    let space = Space::new(Layout::new(0, 0, 10, 4).unwrap(), 0, 0).unwrap();
    let mut recycler = space.recycler().unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let space = space.clone();
            std::thread::spawn(move || {
                // Some churn, then keep up to a quarter of the space.
                for _ in 0..500 {
                    drop((space.allocate(), space.allocate()));
                }
                (0..256).filter_map(|_| space.allocate().ok()).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut tips = 0;
    while workers.iter().any(|worker| !worker.is_finished()) {
        tips += 1;
        recycler.on_tip(at(tips));
    }
    let slots: Vec<Slot> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    let distinct: BTreeSet<u32> = slots.iter().map(Slot::index).collect();
    assert_eq!(distinct.len(), slots.len());
    assert_eq!(space.live() as usize, slots.len());
    // Whatever rests comes back.
    for tip in 1..=6 {
        recycler.on_tip(at(tips + tip));
    }
    assert_eq!(space.resting(), 0);
    let rest: Vec<Slot> = core::iter::from_fn(|| space.allocate().ok()).collect();
    assert_eq!(rest.len() + slots.len(), 1024);
    assert!(rest.iter().all(|slot| !distinct.contains(&slot.index())));
}

#[test]
fn a_space_below_an_upstream_s_channel() {
    let upstream = Extranonce::try_from(&[0xaa, 0xbb, 0xcc][..]).unwrap();
    let space = Space::below(upstream, Layout::new(0, 4, 8, 9).unwrap(), 0, 0b0101).unwrap();
    assert_eq!(space.full_size(), 12);
    let slots: Vec<_> = (0..4).map(|_| space.allocate().unwrap()).collect();
    // 0101 0000_0011, then four zero bits.
    assert_eq!(slots[3].prefix(7).unwrap().as_bytes(), [0xaa, 0xbb, 0xcc, 0b0101_0000, 0b0011_0000]);
    assert_eq!(slots[3].full_prefix().as_bytes(), [0xaa, 0xbb, 0xcc, 0b0101_0000, 0b0011_0000, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(slots[3].prefix(8), Err(LayoutError::Rollable { wanted: 8, available: 7 }));
    let rolled = Extranonce::from_counter(0x0102, 4).unwrap();
    let seen = slots[3].rolled_upstream(&rolled).unwrap();
    assert_eq!(seen.as_bytes(), [0b0101_0000, 0b0011_0000, 0, 0, 0, 0, 0, 1, 2]);
    let whole = slots[3].prefix(4).unwrap().join(rolled.as_bytes());
    assert_eq!(upstream.join(seen.as_bytes()), whole, "both sides mean the same coinbase");
    assert_eq!(slots[3].rolled_upstream(&Extranonce::zeroed(8).unwrap()).map(|e| e.len()).ok(), None);

    let wide = Extranonce::zeroed(24).unwrap();
    assert!(Space::below(wide, Layout::new(0, 0, 8, 8).unwrap(), 0, 0).is_ok(), "32 bytes");
    let over = Space::below(wide, Layout::new(0, 0, 8, 9).unwrap(), 0, 0).map(|_| ());
    assert_eq!(over, Err(LayoutError::FullSize { needed: 25, full_size: 33 }));
}

#[test]
fn a_space_within_a_slot_holds_it() {
    let (outer, _) = small(3);
    let slot = outer.allocate().unwrap();
    let layout = Layout::new(0, 0, 4, 3).unwrap();
    let inner = Space::within(slot.clone(), layout, 0, 0).unwrap();
    let leaf = inner.allocate().unwrap();
    assert_eq!(leaf.full_prefix().len(), 4);
    drop((slot, inner));
    assert_eq!((outer.live(), outer.resting()), (1, 0), "the leaf holds its space, and that one its slot");
    drop(leaf);
    assert_eq!((outer.live(), outer.resting()), (0, 1));
    let too_wide = Space::within(outer.allocate().unwrap(), Layout::new(0, 0, 4, 4).unwrap(), 0, 0).map(|_| ());
    assert_eq!(too_wide, Err(LayoutError::Rollable { wanted: 4, available: 3 }));
}

/// Whether one of the two is the beginning of the other.
fn overlap(a: &Extranonce, b: &Extranonce) -> bool {
    let len = a.len().min(b.len());
    a.as_bytes()[..len] == b.as_bytes()[..len]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn prefixes_of_live_slots_never_overlap(
        server in 0u64..4, epochs in prop::collection::btree_set(0u64..8, 2), sizes in prop::collection::vec(0usize..=6, 8),
    ) {
        // A prefix must not be the beginning of another one, or their channels would overlap.
        let layout = Layout::new(2, 3, 4, 8).unwrap();
        let spaces: Vec<_> = epochs.iter().map(|&epoch| Space::new(layout, server, epoch).unwrap()).collect();
        let slots: Vec<_> = sizes.iter().enumerate().map(|(i, _)| spaces[i % 2].allocate().unwrap()).collect();
        let prefixes: Vec<_> = slots.iter().zip(&sizes).map(|(slot, &size)| slot.prefix(size).unwrap()).collect();
        for (i, a) in prefixes.iter().enumerate() {
            prop_assert!(prefixes[i + 1..].iter().all(|b| !overlap(a, b)));
        }
    }

    #[test]
    fn counters_are_big_endian_and_cut(counter: u64, len in 0usize..=32) {
        let extranonce = Extranonce::from_counter(counter, len).unwrap();
        let mut wide = [0u8; 40];
        wide[32..].copy_from_slice(&counter.to_be_bytes());
        prop_assert_eq!(extranonce.as_bytes(), &wide[40 - len..]);
    }

    /// Server, proxy, downstream, rollable: layers of any widths, with channels in each of them.
    #[test]
    fn layers_never_overlap(
        bits in prop::collection::vec((0u8..10, 0u8..10, 1u8..6), 1..5),
        steps in prop::collection::vec((0usize..8, any::<bool>(), 0usize..32), 1..24),
    ) {
        // Each layer has the bytes that the ones inside it need, and four that the innermost channels roll.
        let mut layouts = Vec::new();
        let mut size = 4;
        for &(server, epoch, slot) in bits.iter().rev() {
            size += usize::from(server + epoch + slot).div_ceil(8);
            layouts.push(Layout::new(server, epoch, slot, size).unwrap());
        }
        let layouts: Vec<Layout> = layouts.into_iter().rev().collect();
        let mut spaces = alloc::vec![(0, Space::new(layouts[0], 0, 1).unwrap())];
        let mut channels = Vec::new();
        for (which, open, rollable) in steps {
            let (depth, space) = spaces[which % spaces.len()].clone();
            let Ok(slot) = space.allocate() else { continue };
            match layouts.get(depth + 1) {
                Some(layout) if !open => {
                    // Half of the proxies are in the process, half of them know no more than their prefix.
                    let (server_id, epoch) = (0, rollable as u64);
                    let inner = if rollable % 2 == 0 {
                        Space::within(slot, *layout, server_id, epoch).unwrap()
                    } else {
                        let prefix = slot.prefix(layout.full_size()).unwrap();
                        channels.push((slot, None));
                        Space::below(prefix, *layout, server_id, epoch).unwrap()
                    };
                    spaces.push((depth + 1, inner));
                }
                _ => {
                    let prefix = slot.prefix(rollable % (space.layout().max_rollable() + 1)).unwrap();
                    prop_assert!(prefix.len() <= space.full_size());
                    channels.push((slot, Some(prefix)));
                }
            }
        }
        let prefixes: Vec<Extranonce> = channels.iter().filter_map(|(_, prefix)| *prefix).collect();
        for (i, a) in prefixes.iter().enumerate() {
            prop_assert!(prefixes[i + 1..].iter().all(|b| !overlap(a, b)), "{a} and another");
        }
    }

    /// Against a list: what was let go is given out again after the next tip and three more, or ten minutes behind it.
    #[test]
    fn no_slot_comes_back_before_its_time(steps in prop::collection::vec((0u8..3, 0u64..700), 1..200)) {
        let (space, mut recycler) = small(4);
        let (mut held, mut now, mut tips) = (Vec::new(), 0, Vec::new());
        let mut let_go: Vec<(u32, u64)> = Vec::new();
        for (step, seconds) in steps {
            now += seconds;
            match step {
                0 => {
                    tips.push(now);
                    recycler.on_tip(at(now));
                }
                1 => if let Ok(slot) = space.allocate() {
                    if let Some(index) = let_go.iter().position(|(index, _)| *index == slot.index()) {
                        let (_, before) = let_go.remove(index);
                        let since: Vec<u64> = tips[before as usize..].to_vec();
                        let forgotten = since.len() > 3 || since.first().is_some_and(|first| now - first > 600);
                        prop_assert!(forgotten, "{since:?} at {now}");
                    }
                    held.push(slot);
                },
                _ => if !held.is_empty() {
                    let slot: Slot = held.swap_remove(seconds as usize % held.len());
                    let_go.push((slot.index(), tips.len() as u64));
                },
            }
            prop_assert_eq!(space.live() as usize, held.len());
            prop_assert!(held.len() + space.resting() as usize <= 16);
        }
    }
}
