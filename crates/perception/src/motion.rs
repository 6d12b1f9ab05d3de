//! How the packages move together, as on a belt: measured, or given.

use arrayvec::ArrayVec;
use nalgebra::{Point3, Vector3};

use crate::{Package, StampNs, Velocity};

/// Positions remembered of one package.
const POSITIONS_MAX: usize = 8;
/// Positions closer in time would fill the memory of a fast camera before they span enough time; the newest is
/// kept whatever came before it.
const APART_NS_MIN: u64 = 35_000_000;
/// A package must have been seen this often, over this time, before its speed counts.
const POSITIONS_MIN: usize = 3;
const SPAN_S_MIN: f64 = 0.12;
/// Out of sight for longer, a package starts anew.
const OCCLUDED_NS_MAX: u64 = 1_000_000_000;
/// The line through the last positions itself lags behind what just changed: by half.
const LAG_GAIN: f64 = 2.0;
/// The scatter of one or two packages says nothing: then a speed is known to this share of it, and this.
const PACKAGES_MIN: usize = 3;
const FEW_SPEED_SHARE: f64 = 0.05;
const FEW_SIGMA_M_S: f64 = 0.01;
/// A normal distribution's standard deviation, in medians of its absolute deviations.
const SIGMA_PER_MEDIAN_DEVIATION: f64 = 1.4826;
/// A median of many scatters by a quarter more than their mean.
const MEDIAN_SCATTER: f64 = 1.25;
/// No measured speed is surer than this, a millimetre in a fifth of a second.
const SIGMA_M_S_MIN: f64 = 0.005;

/// Where packages were in the last frames.
#[derive(Debug, Default)]
pub struct Motion {
    tracks: Vec<Track>,
    // Buffers, kept from frame to frame.
    speeds: Vec<Vector3<f64>>,
    lags: Vec<Vector3<f64>>,
    values: Vec<f64>,
}

#[derive(Debug)]
struct Track {
    id: u64,
    /// Oldest first.
    positions: ArrayVec<(StampNs, Point3<f64>), POSITIONS_MAX>,
}

impl Motion {
    /// Takes in a frame's packages and says how they move: the median over packages, so that one
    /// that rolls or is taken away does not count. `None` until one was seen long enough.
    pub fn follow(&mut self, packages: &[Package], stamp: StampNs) -> Option<Velocity> {
        self.tracks.retain(|track| {
            track.positions.last().is_some_and(|(seen, _)| stamp.since_ns(*seen) <= OCCLUDED_NS_MAX)
        });
        for package in packages {
            if let Some(position) = package.position_in_reference {
                self.add(package.track_id, stamp, position);
            }
        }
        let Motion { tracks, speeds, lags, values } = self;
        speeds.clear();
        lags.clear();
        let seen = |track: &&Track| track.positions.last().is_some_and(|(seen, _)| *seen == stamp);
        for track in tracks.iter().filter(seen) {
            let Some(speed) = track.speed() else { continue };
            let late = slope(&track.positions[track.positions.len() - POSITIONS_MIN..]);
            speeds.push(speed);
            lags.push(late - speed);
        }
        if speeds.is_empty() {
            return None;
        }
        let linear_m_s = median_of_each_axis(speeds, values);
        let off = median(speeds.iter().map(|speed| (speed - linear_m_s).amax()), values);
        let sigma_m_s =
            MEDIAN_SCATTER * SIGMA_PER_MEDIAN_DEVIATION * off / (speeds.len() as f64).sqrt();
        let few = if speeds.len() < PACKAGES_MIN {
            FEW_SPEED_SHARE * linear_m_s.norm() + FEW_SIGMA_M_S
        } else {
            0.0
        };
        // A belt that starts or stops is ahead of the line through all positions, for all packages alike.
        let lag = LAG_GAIN * median_of_each_axis(lags, values).norm();
        Some(Velocity { linear_m_s, sigma_m_s: sigma_m_s.max(SIGMA_M_S_MIN).max(few).max(lag) })
    }

    fn add(&mut self, id: u64, stamp: StampNs, position: Point3<f64>) {
        let known = self.tracks.iter().position(|track| track.id == id);
        let at = known.unwrap_or_else(|| {
            self.tracks.push(Track { id, positions: ArrayVec::new() });
            self.tracks.len() - 1
        });
        let positions = &mut self.tracks[at].positions;
        if let [.., (before, _), (newest, _)] = positions[..]
            && newest.since_ns(before) < APART_NS_MIN
        {
            positions.pop();
        }
        if positions.len() == POSITIONS_MAX {
            positions.remove(0);
        }
        positions.push((stamp, position));
    }
}

impl Track {
    fn speed(&self) -> Option<Vector3<f64>> {
        let (first, last) = (self.positions.first()?.0, self.positions.last()?.0);
        let is_long = last.since_ns(first) as f64 / 1e9 >= SPAN_S_MIN;
        (self.positions.len() >= POSITIONS_MIN && is_long).then(|| slope(&self.positions))
    }
}

/// The slope of a least-squares line through two positions or more.
fn slope(positions: &[(StampNs, Point3<f64>)]) -> Vector3<f64> {
    let seconds = |stamp: StampNs| stamp.since_ns(positions[0].0) as f64 / 1e9;
    let n = positions.len() as f64;
    let mean_s = positions.iter().map(|(stamp, _)| seconds(*stamp)).sum::<f64>() / n;
    let (mut products, mut squares) = (Vector3::zeros(), 0.0);
    for (stamp, position) in positions {
        let from_mean_s = seconds(*stamp) - mean_s;
        products += position.coords * from_mean_s;
        squares += from_mean_s * from_mean_s;
    }
    if squares > 0.0 { products / squares } else { Vector3::zeros() }
}

fn median_of_each_axis(vectors: &[Vector3<f64>], buffer: &mut Vec<f64>) -> Vector3<f64> {
    let mut axis = |at: usize| median(vectors.iter().map(|vector| vector[at]), buffer);
    Vector3::new(axis(0), axis(1), axis(2))
}

fn median(values: impl Iterator<Item = f64>, buffer: &mut Vec<f64>) -> f64 {
    buffer.clear();
    buffer.extend(values);
    let values = buffer;
    let median_at = values.len() / 2;
    *values.select_nth_unstable_by(median_at, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BboxPx, Instance, Mask};

    fn package(track_id: u64, x_m: f64, y_m: f64) -> Package {
        let bbox = BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 1.0, y_max_px: 1.0 };
        let instance = Instance { class_id: 0, score: 1.0, bbox, mask: Mask::empty(4, 4) };
        let position_in_reference = Some(Point3::new(x_m, y_m, 0.1));
        Package { position_in_reference, ..Package::unplanned(instance, track_id) }
    }

    /// Frames of 50 ms; `None` is a frame in which nothing is seen.
    fn check(frames: &[Option<Vec<Package>>]) -> Option<Velocity> {
        check_every(50_000_000, frames)
    }

    fn check_every(period_ns: u64, frames: &[Option<Vec<Package>>]) -> Option<Velocity> {
        let mut motion = Motion::default();
        let mut last = None;
        for (index, packages) in (0..).zip(frames) {
            let stamp = StampNs(1_000_000_000 + index * period_ns);
            last = motion.follow(packages.as_deref().unwrap_or(&[]), stamp);
        }
        last
    }

    #[test]
    fn a_belt_s_speed_is_found_though_one_package_is_taken_away() {
        let frame = |t: f64| {
            let on_belt = (1..5).map(|id| package(id, 0.3 * t, 0.1 * id as f64));
            Some(on_belt.chain([package(9, 0.3 * t, 2.0 * t)]).collect())
        };
        let found = check(&(0..6).map(|i| frame(0.05 * f64::from(i))).collect::<Vec<_>>()).unwrap();
        assert!((found.linear_m_s - Vector3::new(0.3, 0.0, 0.0)).norm() < 1e-6, "{found:?}");
    }

    #[test]
    fn a_belt_that_stops_is_unsure_until_all_places_are_at_rest() {
        let place = |i: i32| 0.3 * 0.05 * f64::from(i.min(10));
        for frames in 8..30 {
            let seen: Vec<_> = (0..frames)
                .map(|i| Some((1..5).map(|id| package(id, place(i), 0.1 * id as f64)).collect()))
                .collect();
            let found = check(&seen).unwrap();
            let truth = if frames > 11 { 0.0 } else { 0.3 };
            let off = (found.linear_m_s - Vector3::new(truth, 0.0, 0.0)).norm();
            assert!(off < 2.0 * found.sigma_m_s, "{frames} frames: {off} m/s off, {found:?}");
        }
    }

    #[test]
    fn a_fast_camera_measures_it_too() {
        let frames: Vec<_> =
            (0..60).map(|i| Some(vec![package(1, 0.3 * f64::from(i) / 100.0, 0.0)])).collect();
        let found = check_every(10_000_000, &frames).unwrap();
        assert!((found.linear_m_s.x - 0.3).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn who_is_out_of_sight_has_no_say() {
        let gone = Some(vec![package(9, 0.0, 0.0), package(1, 0.0, 0.0)]);
        let mut frames: Vec<_> = (0..4).map(|_| gone.clone()).collect();
        frames.extend((4..9).map(|i| Some(vec![package(1, 0.01 * f64::from(i), 0.0)])));
        assert!(check(&frames).unwrap().linear_m_s.x > 0.1);
    }

    #[test]
    fn some_frames_out_of_sight_do_not_disturb_it() {
        let frame = |i: i32| Some(vec![package(1, 0.2 * 0.05 * f64::from(i), 0.0)]);
        let frames = [frame(0), frame(1), None, None, None, frame(5), frame(6)];
        let found = check(&frames).unwrap();
        assert!((found.linear_m_s.x - 0.2).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn what_was_seen_twice_has_no_speed() {
        let frame = |i: i32| Some(vec![package(1, 0.01 * f64::from(i), 0.0)]);
        assert_eq!(check(&[frame(0), frame(1)]), None);
    }
}
