//! The whole protocol of an arm controller, in the order in which it happens.
//!
//! 1. Take a fresh result that shows the cell as it is since the arm last moved something.
//! 2. Choose the first package in pick order that has a grasp.
//! 3. Move above it.
//! 4. Look again: the next result must be fresh, and the package where it was.
//! 5. Pick, and report what became of it. A later station reports what a held package was.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use magpie_client::{
    Client, ClientOptions, Expired, Freshness, PackagesSubscriber, PackagesView, Pick, PickReport,
    StampNs, wire,
};
use magpie_daemon::failure::{Failure, Outcome, not_joined};
use magpie_perception::CupSet;
use magpie_workcell::Picked;
use nalgebra::Isometry3;

use super::cell::SimulatedCell;
use super::log::{Attempt, Confirmed, End, Log, Withdrawn};

/// Without a result for so long the arm gives up.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A heap is given up when so many results in a row show nothing to hold.
const EMPTY_RESULTS_MAX: u32 = 3;
/// The simulation is given up when so many heaps in a row gave nothing.
const EMPTY_HEAPS_MAX: u32 = 20;
/// A package that was not held so often is left to others.
const FAILURES_MAX: u32 = 2;
/// The simulation is given up when the arm turned back so often in a row.
const TURNED_BACK_MAX: u32 = 50;
/// A grasp that is further from the chosen one than this is another: the package moved.
const MOVED_M_MAX: f64 = 0.02;
const REPORTER: &str = "simulated arm";
const STATION: &str = "simulated station";

pub(super) struct Controller<'a> {
    cell: &'a SimulatedCell,
    client: Client,
    packages: PackagesSubscriber,
    approach: Duration,
    /// When the arm last changed the cell: what was exposed before shows it as it was.
    changed: StampNs,
    failures: BTreeMap<u64, u32>,
    /// How often in a row the arm turned back.
    turned_back: u32,
    reports: u64,
    log: Log,
}

/// The package that the arm goes for.
struct Choice {
    track_id: u64,
    /// For the report, where the arm turns back.
    pick: Pick,
    base_from_grasp: Isometry3<f64>,
    exposed: StampNs,
    received: StampNs,
}

impl Controller<'_> {
    pub(super) fn join(
        cell: &SimulatedCell,
        approach: Duration,
    ) -> Result<Controller<'_>, Failure> {
        let (name, zenoh) = (cell.name.clone(), cell.zenoh.clone());
        let options = ClientOptions::new(name, zenoh, cell.clock.clone());
        let client = Client::open(options).map_err(not_joined)?;
        let packages = client.packages().map_err(not_joined)?;
        let (changed, log) = (cell.clock.now(), Log::default());
        Ok(Controller {
            cell,
            client,
            packages,
            approach,
            changed,
            failures: BTreeMap::new(),
            turned_back: 0,
            reports: 0,
            log,
        })
    }

    /// How often the cell was told something.
    pub(super) fn reports(&self) -> u64 {
        self.reports
    }

    pub(super) fn leave(self) -> Log {
        self.log
    }

    /// Picks until there were `count` picks; `told` hears how many there were.
    pub(super) fn pick(&mut self, count: u32, told: impl Fn(u32)) -> Outcome {
        let (mut empty_results, mut empty_heaps) = (0, 0);
        let mut heard = self.cell.clock.now();
        while self.log.picks() < count {
            let view = match self.packages.next(Duration::from_secs(1)) {
                Freshness::Fresh(view) => view,
                Freshness::Stale(why) => {
                    self.log.waited();
                    self.check_patience(heard, &why)?;
                    continue;
                }
                Freshness::Lost { why, .. } => {
                    self.log.waited();
                    self.check_patience(heard, &why)?;
                    continue;
                }
            };
            heard = self.cell.clock.now();
            if view.restarted() {
                self.failures.clear();
            }
            if exposed(&view) <= self.changed {
                continue;
            }
            match self.choose(&view) {
                Ok(Some(choice)) => {
                    (empty_results, empty_heaps) = (0, 0);
                    self.attempt(choice)?;
                    told(self.log.picks());
                }
                Ok(None) if empty_results + 1 < EMPTY_RESULTS_MAX => empty_results += 1,
                Ok(None) => {
                    (empty_results, empty_heaps) = (0, empty_heaps + 1);
                    if empty_heaps == EMPTY_HEAPS_MAX {
                        return Err(Failure::fault(anyhow!(
                            "{EMPTY_HEAPS_MAX} heaps in a row had nothing to hold: look at what the \
                             model finds with `magpie simulate` and `magpie detect --overlay`"
                        )));
                    }
                    self.refill();
                }
                // It expired while it was looked at; the next one may be quicker.
                Err(Expired { .. }) => self.log.waited(),
            }
        }
        Ok(())
    }

    fn check_patience(&self, heard: StampNs, why: &impl ToString) -> Outcome {
        let silent_ns = self.cell.clock.now().since_ns(heard);
        if u128::from(silent_ns) < SILENCE_MAX.as_nanos() {
            return Ok(());
        }
        Err(Failure::fault(anyhow!(
            "no fresh result for {} s: {}",
            SILENCE_MAX.as_secs(),
            why.to_string()
        )))
    }

    fn choose(&self, view: &PackagesView) -> Result<Option<Choice>, Expired> {
        // By poses in another reference frame no arm can move.
        if view.for_display().reference_frame() != wire::ReferenceFrame::Base {
            return Ok(None);
        }
        let may = |package: &&wire::Package| {
            self.failures.get(&package.track_id).is_none_or(|failures| *failures < FAILURES_MAX)
        };
        let graspable = view.packages()?.iter().filter(may).find_map(|package| {
            let grasp = package.grasps.first()?;
            Some((view.pick(package, grasp)?, grasp.pose?.isometry()?))
        });
        Ok(graspable.map(|(pick, base_from_grasp)| Choice {
            track_id: pick.track_id(),
            pick,
            base_from_grasp,
            exposed: exposed(view),
            received: self.cell.clock.now(),
        }))
    }

    fn attempt(&mut self, choice: Choice) -> Outcome {
        std::thread::sleep(self.approach);
        // What is reported is the result that the arm acted upon last.
        let (pick, confirmed, end) = match self.confirm(&choice) {
            Err(why) => (choice.pick.clone(), None, End::Withdrawn(why)),
            Ok((view, package, grasp)) => {
                let pick = view.pick(&package, &grasp).unwrap_or_else(|| choice.pick.clone());
                match self.press(&choice, &view, &grasp)? {
                    Err(why) => (pick, None, End::Withdrawn(why)),
                    Ok((confirmed, picked)) => (pick, Some(confirmed), End::Picked(picked)),
                }
            }
        };
        let ended = confirmed.as_ref().map(|confirmed| confirmed.contact);
        let ended = ended.unwrap_or_else(|| self.cell.clock.now());
        self.turned_back = match &end {
            End::Picked(_) => 0,
            End::Withdrawn(why) => {
                if !matches!(why, Withdrawn::NotFresh { .. }) {
                    *self.failures.entry(choice.track_id).or_default() += 1;
                }
                self.turned_back + 1
            }
        };
        self.report(&pick, &end, ended)?;
        let Choice { track_id, exposed, received, .. } = choice;
        let reported = self.cell.clock.now();
        self.log.add(Attempt { track_id, exposed, received, confirmed, ended, end, reported });
        if self.turned_back < TURNED_BACK_MAX {
            return Ok(());
        }
        Err(Failure::fault(anyhow!(
            "the arm turned back {TURNED_BACK_MAX} times in a row: results expire before it is there; \
             shorten --approach-ms, or raise limits.result_valid_ms"
        )))
    }

    /// Tells the cell what became of a pick. The type comes later, and amends that.
    fn report(&mut self, pick: &Pick, end: &End, ended: StampNs) -> Outcome {
        let first = PickReport {
            done_ns: Some(ended.unix_ns(self.cell.clock.unix_ahead_ns())),
            reporter: REPORTER.into(),
            ..PickReport::new(end.outcome())
        };
        self.client.report_outcome(pick, &first).map_err(Failure::fault)?;
        self.reports += 1;
        let End::Picked(Picked::Held(package_type)) = end else { return Ok(()) };
        let package_type = package_type.name().to_owned();
        let later = PickReport { package_type, reporter: STATION.into(), ..first };
        self.client.report_outcome(pick, &later).map_err(Failure::fault)?;
        self.reports += 1;
        Ok(())
    }

    /// The next result after the choice, and the package and the grasp in it that are the chosen ones.
    fn confirm(
        &mut self,
        choice: &Choice,
    ) -> Result<(PackagesView, wire::Package, wire::Grasp), Withdrawn> {
        let view = match self.packages.next(Duration::from_secs(1)) {
            Freshness::Fresh(view) => view,
            Freshness::Stale(why) => return Err(not_fresh(&why)),
            Freshness::Lost { why, .. } => return Err(not_fresh(&why)),
        };
        if view.restarted() {
            // Its tracks are others.
            self.failures.clear();
            return Err(Withdrawn::NotSeen);
        }
        if exposed(&view) <= choice.exposed {
            return Err(not_fresh(&"there is no newer picture"));
        }
        let packages = view.packages().map_err(|expired| not_fresh(&expired))?;
        let package = packages.iter().find(|package| package.track_id == choice.track_id);
        let package = package.ok_or(Withdrawn::NotSeen)?.clone();
        let moved_m = |grasp: &&wire::Grasp| {
            let base_from_grasp = grasp.pose.and_then(|pose| pose.isometry());
            base_from_grasp.map_or(f64::INFINITY, |base_from_grasp| {
                let moved =
                    base_from_grasp.translation.vector - choice.base_from_grasp.translation.vector;
                moved.norm()
            })
        };
        let nearest = package.grasps.iter().min_by(|a, b| moved_m(a).total_cmp(&moved_m(b)));
        match nearest.filter(|grasp| moved_m(grasp) <= MOVED_M_MAX).cloned() {
            Some(grasp) => Ok((view, package, grasp)),
            None => Err(Withdrawn::Moved),
        }
    }

    fn press(
        &mut self,
        choice: &Choice,
        view: &PackagesView,
        grasp: &wire::Grasp,
    ) -> Result<Result<(Confirmed, Picked), Withdrawn>, Failure> {
        let base_from_grasp = grasp.pose.and_then(|pose| pose.isometry());
        let base_from_grasp = base_from_grasp.unwrap_or(choice.base_from_grasp);
        let cups = grasp.cups.iter().fold(CupSet::default(), |cups, cup| cups.with(*cup as usize));
        let mut goods = self.cell.goods();
        let contact = self.cell.clock.now();
        // The last question before the cups touch down.
        if let Err(expired) = view.packages() {
            return Ok(Err(not_fresh(&expired)));
        }
        let picked = goods.pick(&self.cell.tool, cups, &base_from_grasp).map_err(Failure::fault)?;
        self.changed = self.cell.clock.now();
        drop(goods);
        match picked {
            // What was below has settled, and may be a package that was given up.
            Picked::Held(_) | Picked::Double(_) => self.failures.clear(),
            _ => *self.failures.entry(choice.track_id).or_default() += 1,
        }
        let valid_until = view.at_unix_ns(view.for_display().valid_until_ns);
        Ok(Ok((Confirmed { exposed: exposed(view), valid_until, contact }, picked)))
    }

    fn refill(&mut self) {
        let mut goods = self.cell.goods();
        self.log.refilled(goods.packages_left());
        goods.refill();
        self.changed = self.cell.clock.now();
        drop(goods);
        self.failures.clear();
    }
}

fn exposed(view: &PackagesView) -> StampNs {
    view.at_unix_ns(view.for_display().stamp_ns)
}

fn not_fresh(why: &impl ToString) -> Withdrawn {
    Withdrawn::NotFresh { why: why.to_string() }
}
