//! Gives each instance an identity that stays from frame to frame.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

use crate::number::millionths;
use crate::{BboxPx, Instance, StampNs};

/// Least overlap of a prediction and an instance that may be the same package.
const IOU_MIN: f32 = 0.2;
/// A package may be out of sight this long and keep its identity.
const OCCLUDED_NS_MAX: u64 = 1_000_000_000;
/// Share of the newest speed in the estimate: belts move evenly, boxes jitter.
const SPEED_GAIN: f32 = 0.5;

/// The packages seen lately.
#[derive(Debug, Default)]
pub struct Tracks {
    tracks: Vec<Track>,
    issued: u64,
    matching: Matching,
    ids: Vec<u64>,
}

/// Buffers, kept from frame to frame.
#[derive(Debug, Default)]
struct Matching {
    predictions: Vec<BboxPx>,
    pairs: Vec<Pair>,
    lowest: Vec<usize>,
    partners: Vec<Option<Pair>>,
}

#[derive(Debug)]
struct Track {
    id: u64,
    bbox: BboxPx,
    seen: StampNs,
    /// x and y, in pixels a nanosecond.
    speed: [f32; 2],
}

impl Tracks {
    /// The track id of each instance. Pairs predictions and instances so that their overlaps add
    /// up to the most (Hungarian method); instances without a partner get new ids.
    pub fn assign(&mut self, instances: &[Instance], stamp: StampNs) -> &[u64] {
        self.tracks.retain(|track| stamp.since_ns(track.seen) <= OCCLUDED_NS_MAX);
        let partners = self.matching.partners(&self.tracks, instances, stamp);
        self.ids.clear();
        for (instance, partner) in instances.iter().zip(partners) {
            let bbox = instance.bbox;
            if let Some(pair) = partner {
                let track = &mut self.tracks[pair.track];
                track.update(bbox, stamp);
                self.ids.push(track.id);
            } else {
                self.issued += 1;
                self.tracks.push(Track { id: self.issued, bbox, seen: stamp, speed: [0.0; 2] });
                self.ids.push(self.issued);
            }
        }
        &self.ids
    }
}

impl Matching {
    /// For each instance the pair that it makes with its track.
    fn partners(
        &mut self,
        tracks: &[Track],
        instances: &[Instance],
        stamp: StampNs,
    ) -> &[Option<Pair>] {
        let Matching { predictions, pairs, lowest, partners } = self;
        predictions.clear();
        predictions.extend(tracks.iter().map(|track| track.predicted(stamp)));
        pairs.clear();
        for (instance, found) in instances.iter().enumerate() {
            for (track, predicted) in predictions.iter().enumerate() {
                let iou = predicted.iou(&found.bbox);
                if iou >= IOU_MIN {
                    pairs.push(Pair { instance, track, weight: millionths(iou) });
                }
            }
        }
        partners.clear();
        partners.resize(instances.len(), None);
        sort_by_group(pairs, instances.len(), lowest);
        for group in pairs.chunk_by(|a, b| lowest[a.instance] == lowest[b.instance]) {
            match_group(group, partners);
        }
        partners
    }
}

/// An instance and a track that may be the same package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    instance: usize,
    track: usize,
    /// Positive.
    weight: i64,
}

/// Puts pairs together that compete with each other for an instance or a track: what happens in one
/// heap of packages is no matter of another one, and small problems are solved quickly. Within a
/// group they are in the order of tracks. Into `lowest` goes, for each instance, the lowest one of
/// its group.
fn sort_by_group(pairs: &mut [Pair], instance_count: usize, lowest: &mut Vec<usize>) {
    // The lowest instance of its group that each instance knows of.
    lowest.clear();
    lowest.extend(0..instance_count);
    pairs.sort_unstable_by_key(|pair| (pair.track, pair.instance));
    for two in pairs.windows(2).filter(|two| two[0].track == two[1].track) {
        let [a, b] = [two[0].instance, two[1].instance].map(|at| group_of(lowest, at));
        lowest[a.max(b)] = a.min(b);
    }
    // From the first on, so that each finds the end of its chain in two steps.
    for at in 0..instance_count {
        lowest[at] = group_of(lowest, at);
    }
    pairs.sort_unstable_by_key(|pair| (lowest[pair.instance], pair.track, pair.instance));
}

fn group_of(lowest: &[usize], mut instance: usize) -> usize {
    while lowest[instance] != instance {
        instance = lowest[instance];
    }
    instance
}

fn match_group(pairs: &[Pair], partners: &mut [Option<Pair>]) {
    for pair in pairs {
        let best = &mut partners[pair.instance];
        if best.is_none_or(|best| best.weight < pair.weight) {
            *best = Some(*pair);
        }
    }
    let is_best = |pair: &&Pair| partners[pair.instance] == Some(**pair);
    let is_contested = |same: &[Pair]| same.iter().filter(is_best).count() > 1;
    // Where each may have the track that it overlaps most, their overlaps cannot add up to more.
    if pairs.chunk_by(|a, b| a.track == b.track).any(is_contested) {
        solve_group(pairs, partners);
    }
}

fn solve_group(pairs: &[Pair], partners: &mut [Option<Pair>]) {
    for pair in pairs {
        partners[pair.instance] = None;
    }
    let sorted = |index: fn(&Pair) -> usize| {
        let mut all: Vec<usize> = pairs.iter().map(index).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let (instances, tracks) = (sorted(|pair| pair.instance), sorted(|pair| pair.track));
    // The solver wants no more rows than columns.
    let flipped = instances.len() > tracks.len();
    let (rows, columns) = if flipped { (&tracks, &instances) } else { (&instances, &tracks) };
    let mut weights = Matrix::new(rows.len(), columns.len(), 0);
    for pair in pairs {
        let at = |all: &[usize], index| all.binary_search(&index).expect("listed above");
        let (instance, track) = (at(&instances, pair.instance), at(&tracks, pair.track));
        weights[if flipped { (track, instance) } else { (instance, track) }] = pair.weight;
    }
    for (row, column) in kuhn_munkres(&weights).1.into_iter().enumerate() {
        let weight = weights[(row, column)];
        if weight > 0 {
            let (instance, track) =
                if flipped { (columns[column], rows[row]) } else { (rows[row], columns[column]) };
            partners[instance] = Some(Pair { instance, track, weight });
        }
    }
}

impl Track {
    fn predicted(&self, stamp: StampNs) -> BboxPx {
        let elapsed_ns = stamp.since_ns(self.seen) as f32;
        let [dx, dy] = self.speed.map(|speed| speed * elapsed_ns);
        BboxPx {
            x_min_px: self.bbox.x_min_px + dx,
            y_min_px: self.bbox.y_min_px + dy,
            x_max_px: self.bbox.x_max_px + dx,
            y_max_px: self.bbox.y_max_px + dy,
        }
    }

    fn update(&mut self, bbox: BboxPx, stamp: StampNs) {
        let elapsed_ns = stamp.since_ns(self.seen);
        if elapsed_ns > 0 {
            let (old, new) = (self.bbox.center_px(), bbox.center_px());
            for axis in 0..2 {
                let measured = (new[axis] - old[axis]) / elapsed_ns as f32;
                self.speed[axis] += SPEED_GAIN * (measured - self.speed[axis]);
            }
        }
        (self.bbox, self.seen) = (bbox, stamp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mask;
    use proptest::prelude::*;

    fn instance(x: f32, y: f32) -> Instance {
        let bbox = BboxPx { x_min_px: x, y_min_px: y, x_max_px: x + 40.0, y_max_px: y + 30.0 };
        Instance { class_id: 0, score: 0.9, bbox, mask: Mask::empty(4, 4) }
    }

    fn check(frames: &[&[(f32, f32)]], expected: &[&[u64]]) {
        let mut tracks = Tracks::default();
        for (i, (frame, expected)) in frames.iter().zip(expected).enumerate() {
            let instances: Vec<_> = frame.iter().map(|&(x, y)| instance(x, y)).collect();
            let stamp = StampNs(i as u64 * 100_000_000);
            assert_eq!(tracks.assign(&instances, stamp), *expected, "frame {i}");
        }
    }

    #[test]
    fn ids_follow_packages_whatever_their_order() {
        check(&[&[(0.0, 0.0), (100.0, 0.0)], &[(102.0, 1.0), (3.0, 0.0)]], &[&[1, 2], &[2, 1]]);
    }

    #[test]
    fn a_newcomer_gets_a_new_id_and_a_leaver_keeps_its_own_for_a_second() {
        check(
            &[&[(0.0, 0.0)], &[(0.0, 0.0), (200.0, 0.0)], &[(200.0, 0.0)], &[(0.0, 0.0)]],
            &[&[1], &[1, 2], &[2], &[1]],
        );
        let gone: Vec<&[(f32, f32)]> = vec![&[]; 11];
        let frames = [vec![&[(0.0, 0.0)][..]], gone, vec![&[(0.0, 0.0)][..]]].concat();
        let none: Vec<&[u64]> = vec![&[]; 11];
        check(&frames, &[vec![&[1][..]], none, vec![&[2][..]]].concat());
    }

    #[test]
    fn a_package_on_a_fast_belt_is_met_where_it_will_be() {
        // 30 px a frame, then a frame without it: 60 px, more than its width.
        check(
            &[&[(0.0, 0.0)], &[(20.0, 0.0)], &[(50.0, 0.0)], &[(80.0, 0.0)], &[], &[(138.0, 0.0)]],
            &[&[1], &[1], &[1], &[1], &[], &[1]],
        );
    }

    /// The most that overlaps can add up to, by trying everything.
    fn most(pairs: &[Pair]) -> i64 {
        let Some((first, rest)) = pairs.split_first() else { return 0 };
        let free = |pair: &&Pair| pair.instance != first.instance && pair.track != first.track;
        let with: Vec<Pair> = rest.iter().filter(free).copied().collect();
        most(rest).max(first.weight + most(&with))
    }

    proptest! {
        #[test]
        fn overlaps_add_up_to_the_most(weights in proptest::collection::vec(-9i64..10, 16)) {
            let pair = |(at, &weight): (usize, &i64)| Pair { instance: at % 4, track: at / 4, weight };
            let mut pairs: Vec<Pair> = weights.iter().enumerate().map(pair).collect();
            pairs.retain(|pair| pair.weight > 0);
            let (mut partners, mut lowest) = (vec![None; 4], Vec::new());
            sort_by_group(&mut pairs, 4, &mut lowest);
            for group in pairs.chunk_by(|a, b| lowest[a.instance] == lowest[b.instance]) {
                match_group(group, &mut partners);
            }
            let chosen: Vec<Pair> = partners.into_iter().flatten().collect();
            let mut tracks: Vec<usize> = chosen.iter().map(|pair| pair.track).collect();
            tracks.sort_unstable();
            tracks.dedup();
            prop_assert_eq!(tracks.len(), chosen.len());
            prop_assert_eq!(chosen.iter().map(|pair| pair.weight).sum::<i64>(), most(&pairs));
        }

        #[test]
        fn no_two_instances_share_an_id(
            frames in proptest::collection::vec(
                proptest::collection::vec((0.0f32..200.0, 0.0f32..200.0), 0..12), 1..6),
        ) {
            let mut tracks = Tracks::default();
            for (i, frame) in frames.iter().enumerate() {
                let instances: Vec<_> = frame.iter().map(|&(x, y)| instance(x, y)).collect();
                let mut ids = tracks.assign(&instances, StampNs(i as u64 * 50_000_000)).to_vec();
                prop_assert_eq!(ids.len(), instances.len());
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), instances.len());
            }
        }
    }
}
