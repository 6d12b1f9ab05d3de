//! The judge's verdicts, as tables.

use magpie_perception::{GraspRefusal, PackageType, SizeM};
use magpie_workcell::Verdict;
use serde_json::{Value, json};

use crate::distribution::Distribution;
use crate::present::table;

/// The resolution of errors, in millimetres, degrees and percent.
const RESOLUTION: f64 = 1e-6;

/// Sizes of one package: the measured one, and the true length, width and height.
pub(super) struct Sizes {
    pub(super) found: SizeM,
    pub(super) truth: [f64; 3],
}

impl Sizes {
    /// Shares of the true lengths.
    fn errors(&self) -> [f64; 3] {
        let SizeM { length_m, width_m, height_m } = self.found;
        let error = |found: f64, truth: f64| (found / truth - 1.0).abs();
        [
            error(length_m, self.truth[0]),
            error(width_m, self.truth[1]),
            error(height_m, self.truth[2]),
        ]
    }
}

/// One package that was found, and what the judge says of its grasps.
pub(super) struct Trial {
    pub(super) package_type: PackageType,
    pub(super) distance_m: f64,
    pub(super) tilt_deg: f64,
    pub(super) depth_sigma_m: f64,
    pub(super) buried: bool,
    /// Neither behind another package nor cut by the image's border, as the planner sees it.
    pub(super) is_whole: bool,
    /// First in its frame's pick order.
    pub(super) first: bool,
    pub(super) quality: Option<f32>,
    pub(super) refusal: Option<GraspRefusal>,
    pub(super) ours: Option<Verdict>,
    pub(super) centroid: Option<Verdict>,
    pub(super) flattest: Option<Verdict>,
    pub(super) sizes: Option<Sizes>,
}

#[derive(Default)]
pub(super) struct Report {
    pub(super) trials: Vec<Trial>,
    /// Number of true packages, found or not.
    pub(super) packages: usize,
}

/// A name, and which trials it stands for.
type Group = (String, Box<dyn Fn(&Trial) -> bool>);

fn groups() -> Vec<Group> {
    let mut groups: Vec<Group> = vec![("all".into(), Box::new(|_| true))];
    for (low, high) in [(0.0, 0.7), (0.7, 1.0), (1.0, 1.5), (1.5, 2.5), (2.5, 99.0)] {
        let name = if high > 50.0 { format!("over {low} m") } else { format!("{low} to {high} m") };
        groups.push((name, Box::new(move |t| (low..high).contains(&t.distance_m))));
    }
    for (low, high) in [(0.0, 15.0), (15.0, 40.0), (40.0, 180.0)] {
        let name = if high > 90.0 {
            format!("camera tilt over {low} deg")
        } else {
            format!("camera tilt {low} to {high} deg")
        };
        groups.push((name, Box::new(move |t| (low..high).contains(&t.tilt_deg))));
    }
    for package_type in PackageType::ALL {
        let of_type = move |t: &Trial| t.package_type == package_type;
        groups.push((package_type.name().into(), Box::new(of_type)));
    }
    for (low, high) in [(0.0, 0.5), (0.5, 1.5), (1.5, 99.0)] {
        let name = if high > 50.0 {
            format!("depth noise over {low} mm at 1 m")
        } else {
            format!("depth noise {low} to {high} mm at 1 m")
        };
        groups.push((name, Box::new(move |t| (low..high).contains(&(1000.0 * t.depth_sigma_m)))));
    }
    for (low, high) in [(0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.01)] {
        let is_in = move |t: &Trial| t.quality.is_some_and(|q| (low..high).contains(&q));
        groups.push((format!("quality {low} to {:.1}", high.min(1.0)), Box::new(is_in)));
    }
    groups.push(("wholly in view".into(), Box::new(|t| t.is_whole)));
    groups.push(("first in pick order".into(), Box::new(|t| t.first)));
    groups
}

/// The numbers of one group.
struct Summary {
    name: String,
    packages: usize,
    proposed: usize,
    /// Median and 95th percentile.
    position_error_mm: Option<[f64; 2]>,
    angle_error_deg: Option<[f64; 2]>,
    size_error_percent: [Option<[f64; 2]>; 3],
    /// Share of accepted grasps among those proposed: planned, at the centroid, at the flattest patch.
    accepted: [Option<f64>; 3],
    buried: usize,
}

impl Report {
    pub(super) fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    fn summaries(&self) -> Vec<Summary> {
        groups()
            .into_iter()
            .map(|(name, is_in)| summary(name, self.trials.iter().filter(|t| is_in(t)).collect()))
            .filter(|summary| summary.packages > 0)
            .collect()
    }

    pub(super) fn tables(&self) -> String {
        let mut table = table::new(&[
            "",
            "packages",
            "with grasp",
            "accepted %",
            "centroid %",
            "flattest %",
            "position mm",
            "p95",
            "angle deg",
            "p95",
        ]);
        let mut sizes = table::new(&[
            "size error, % of the true one",
            "length",
            "p95",
            "width",
            "p95",
            "height",
            "p95",
        ]);
        for group in self.summaries() {
            let two = |pair: Option<[f64; 2]>, decimals| {
                [0, 1].map(|at| table::decimal(pair.map(|pair| pair[at]), decimals))
            };
            let mut row = vec![
                table::Cell::new(&group.name),
                table::number(group.packages),
                table::number(group.proposed),
            ];
            row.extend(group.accepted.map(|share| table::decimal(share.map(|s| 100.0 * s), 1)));
            row.extend(two(group.position_error_mm, 2));
            row.extend(two(group.angle_error_deg, 2));
            table.add_row(row);
            if group.size_error_percent.iter().any(Option::is_some) {
                let mut row = vec![table::Cell::new(&group.name)];
                row.extend(group.size_error_percent.iter().flat_map(|pair| two(*pair, 1)));
                sizes.add_row(row);
            }
        }
        let first: Vec<&Trial> = self.trials.iter().filter(|t| t.first).collect();
        let buried_first = first.iter().filter(|t| t.buried).count();
        let buried = self.trials.iter().filter(|t| t.buried).count();
        format!(
            "{table}\n\nmedian and 95th percentile; accepted: of the packages with a grasp\n\n\
             {sizes}\n\n{}\n\n{}\n\n{} of {} labelled packages found; {buried} carry another one, \
             {buried_first} of {} frames put such a one first",
            self.faults(),
            self.refusals(),
            self.trials.len(),
            self.packages,
            first.len()
        )
    }

    /// Why the judge said no.
    fn faults(&self) -> String {
        let mut table = table::new(&["fault, %", "planned", "centroid", "flattest"]);
        type IsFault = fn(&Verdict) -> bool;
        let faults: [(&str, IsFault); 5] = [
            ("off the package", |v| v.off_package),
            ("leaks", |v| v.leaks),
            ("misplaced", |v| v.misplaced),
            ("drops", |v| v.drops),
            ("hits something", |v| v.hits),
        ];
        let ways: [fn(&Trial) -> Option<Verdict>; 3] = [|t| t.ours, |t| t.centroid, |t| t.flattest];
        for (name, is_fault) in faults {
            let share = |way: fn(&Trial) -> Option<Verdict>| {
                let all: Vec<Verdict> = self.trials.iter().filter_map(way).collect();
                let faulty = all.iter().filter(|verdict| is_fault(verdict)).count();
                (!all.is_empty()).then(|| 100.0 * faulty as f64 / all.len() as f64)
            };
            let mut row = vec![table::Cell::new(name)];
            row.extend(ways.map(|way| table::decimal(share(way), 1)));
            table.add_row(row);
        }
        table.to_string()
    }

    /// Why the planner gave none.
    fn refusals(&self) -> String {
        let mut table = table::new(&["no grasp because", "packages"]);
        let mut counts = std::collections::BTreeMap::new();
        for refusal in self.trials.iter().filter_map(|trial| trial.refusal) {
            *counts.entry(table::refusal(refusal.into())).or_insert(0) += 1;
        }
        for (why, count) in counts {
            table.add_row([table::Cell::new(why), table::number(count)]);
        }
        table.to_string()
    }

    pub(super) fn to_json(&self) -> Value {
        let groups: Vec<Value> = self
            .summaries()
            .into_iter()
            .map(|group| {
                json!({
                    "group": group.name,
                    "packages": group.packages,
                    "with_grasp": group.proposed,
                    "buried": group.buried,
                    "accepted": group.accepted[0],
                    "accepted_centroid": group.accepted[1],
                    "accepted_flattest": group.accepted[2],
                    "position_error_mm": group.position_error_mm,
                    "angle_error_deg": group.angle_error_deg,
                    "length_error_percent": group.size_error_percent[0],
                    "width_error_percent": group.size_error_percent[1],
                    "height_error_percent": group.size_error_percent[2],
                })
            })
            .collect();
        json!({ "packages_labelled": self.packages, "groups": groups })
    }
}

fn summary(name: String, trials: Vec<&Trial>) -> Summary {
    let verdicts = || trials.iter().filter_map(|trial| trial.ours);
    let share = |way: fn(&Trial) -> Option<Verdict>| {
        let all: Vec<Verdict> = trials.iter().filter_map(|trial| way(trial)).collect();
        let accepted = all.iter().filter(|verdict| verdict.is_accepted()).count();
        (!all.is_empty()).then(|| accepted as f64 / all.len() as f64)
    };
    let sizes = |axis: usize| {
        let errors = trials.iter().filter_map(|t| Some(100.0 * t.sizes.as_ref()?.errors()[axis]));
        median_and_p95(errors.collect())
    };
    Summary {
        name,
        packages: trials.len(),
        proposed: verdicts().count(),
        position_error_mm: median_and_p95(
            verdicts().filter_map(|v| Some(1000.0 * v.position_error_m?)).collect(),
        ),
        angle_error_deg: median_and_p95(verdicts().filter_map(|v| v.angle_error_deg).collect()),
        size_error_percent: [sizes(0), sizes(1), sizes(2)],
        accepted: [share(|t| t.ours), share(|t| t.centroid), share(|t| t.flattest)],
        buried: trials.iter().filter(|trial| trial.buried).count(),
    }
}

fn median_and_p95(values: Vec<f64>) -> Option<[f64; 2]> {
    let distribution = Distribution::new(values, RESOLUTION);
    Some([distribution.median()?, distribution.quantile(0.95)?])
}
