//! How the packages move together, as on a belt: measured, or given.

use arrayvec::ArrayVec;
use nalgebra::{Point3, Vector3};

use crate::{Package, StampNs, Velocity};

/// Places remembered of one package.
const PLACES_MAX: usize = 8;
/// Nearer places would fill the memory of a fast camera before they span enough time; the newest is
/// kept whatever came before it.
const APART_NS_MIN: u64 = 35_000_000;
/// A package must have been seen this often, over this time, before its speed counts.
const PLACES_MIN: usize = 3;
const SPAN_S_MIN: f64 = 0.12;
/// Out of sight for longer, a package starts anew.
const OCCLUDED_NS_MAX: u64 = 1_000_000_000;
/// The line through the last places lags itself behind what just changed: by half.
const LAG_GAIN: f64 = 2.0;
/// No measured speed is surer than this, a millimetre in a fifth of a second.
const SIGMA_M_S_MIN: f64 = 0.005;

/// Where packages were lately.
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
    places: ArrayVec<(StampNs, Point3<f64>), PLACES_MAX>,
}

impl Motion {
    /// Takes in a frame's packages and says how they move: the median over packages, so that one
    /// that rolls or is taken away does not count. `None` until one was seen long enough.
    pub fn follow(&mut self, packages: &[Package], stamp: StampNs) -> Option<Velocity> {
        self.tracks.retain(|track| {
            track.places.last().is_some_and(|(seen, _)| stamp.since_ns(*seen) <= OCCLUDED_NS_MAX)
        });
        for package in packages {
            if let Some(place) = package.position_in_reference {
                self.place(package.track_id, stamp, place);
            }
        }
        let Motion { tracks, speeds, lags, values } = self;
        speeds.clear();
        lags.clear();
        let seen = |track: &&Track| track.places.last().is_some_and(|(seen, _)| *seen == stamp);
        for track in tracks.iter().filter(seen) {
            let Some(speed) = track.speed() else { continue };
            let late = slope(&track.places[track.places.len() - PLACES_MIN..]);
            speeds.push(speed);
            lags.push(late - speed);
        }
        if speeds.is_empty() {
            return None;
        }
        let linear_m_s = median_of_each_axis(speeds, values);
        // 1.4826 median deviations are a normal distribution's sigma; a median of n scatters by a
        // quarter more than a mean.
        let off = median(speeds.iter().map(|speed| (speed - linear_m_s).amax()), values);
        let sigma_m_s = 1.25 * 1.4826 * off / (speeds.len() as f64).sqrt();
        // Of one or two packages, scatter says nothing.
        let few = if speeds.len() < 3 { 0.05 * linear_m_s.norm() + 0.01 } else { 0.0 };
        // A belt that starts or stops is ahead of the line through all places, for all packages alike.
        let lag = LAG_GAIN * median_of_each_axis(lags, values).norm();
        Some(Velocity { linear_m_s, sigma_m_s: sigma_m_s.max(SIGMA_M_S_MIN).max(few).max(lag) })
    }

    fn place(&mut self, id: u64, stamp: StampNs, place: Point3<f64>) {
        let known = self.tracks.iter().position(|track| track.id == id);
        let at = known.unwrap_or_else(|| {
            self.tracks.push(Track { id, places: ArrayVec::new() });
            self.tracks.len() - 1
        });
        let places = &mut self.tracks[at].places;
        if let [.., (before, _), (newest, _)] = places[..]
            && newest.since_ns(before) < APART_NS_MIN
        {
            places.pop();
        }
        if places.len() == PLACES_MAX {
            places.remove(0);
        }
        places.push((stamp, place));
    }
}

impl Track {
    fn speed(&self) -> Option<Vector3<f64>> {
        let (first, last) = (self.places.first()?.0, self.places.last()?.0);
        let is_long = last.since_ns(first) as f64 / 1e9 >= SPAN_S_MIN;
        (self.places.len() >= PLACES_MIN && is_long).then(|| slope(&self.places))
    }
}

/// Of a least-squares line through two places or more.
fn slope(places: &[(StampNs, Point3<f64>)]) -> Vector3<f64> {
    let seconds = |stamp: StampNs| stamp.since_ns(places[0].0) as f64 / 1e9;
    let n = places.len() as f64;
    let mean_s = places.iter().map(|(stamp, _)| seconds(*stamp)).sum::<f64>() / n;
    let (mut products, mut squares) = (Vector3::zeros(), 0.0);
    for (stamp, place) in places {
        let from_mean_s = seconds(*stamp) - mean_s;
        products += place.coords * from_mean_s;
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
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BboxPx, GraspRefusal, Instance, Mask};

    fn package(track_id: u64, x_m: f64, y_m: f64) -> Package {
        let bbox = BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 1.0, y_max_px: 1.0 };
        Package {
            track_id,
            instance: Instance { class_id: 0, score: 1.0, bbox, mask: Mask::empty(4, 4) },
            grasps: Err(GraspRefusal::NoSurface),
            deepest_px: [0.0; 2],
            height_m: None,
            position_in_reference: Some(Point3::new(x_m, y_m, 0.1)),
            size: None,
            occluded_share: 0.0,
            pick_rank: 0,
        }
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
