//! What became of a pick: how a report is made from the result that was acted upon, and whether a
//! report is to be believed.
//!
//! ```text
//! PackagesView::pick -> Pick -> report -> PickOutcome ~~ network ~~> decode_outcome -> PublishedLately::take
//! ```
//!
//! # Conventions
//!
//! Times are Unix time in nanoseconds, as in the messages. Whoever may put on the key can lie about what
//! became of a pick, but only about one that this instance really offered.

use prost::Message;

use crate::printable::printable;
use crate::proto as wire;

/// A report with the longest texts has 500 bytes.
pub const OUTCOME_BYTES_MAX: usize = 1024;
/// The longest text of a report.
pub const OUTCOME_TEXT_BYTES_MAX: usize = 64;
/// A report about a result that was exposed longer ago is not taken.
pub const OUTCOME_AGE_NS_MAX: u64 = 600_000_000_000;
/// The clocks of an arm and a daemon may differ by so much; results ask for more.
const DONE_AHEAD_NS_MAX: u64 = 1_000_000_000;
/// More than the air presses anywhere on earth.
const VACUUM_PA_MAX: f64 = 110_000.0;
/// More than any arm of a packing line lifts.
const WEIGHT_KG_MAX: f64 = 1000.0;
/// Nine minutes at 30 results a second.
const RESULTS_MAX: usize = 1 << 14;
/// Ten minutes at 15 results a second with 14 packages each; two megabytes.
const PACKAGES_MAX: usize = 1 << 17;

/// Names one grasp of one package of one result. It may be kept for as long as its outcome is not
/// known: [`PackagesView::pick`](crate::PackagesView::pick) makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    cell: String,
    instance_id: String,
    publication: u64,
    stamp_ns: u64,
    track_id: u64,
    grasp_index: u32,
}

/// What is said of a pick.
///
/// ```
/// use magpie_wire::{Outcome, PickReport};
/// let report = PickReport { weight_kg: Some(0.41), ..PickReport::new(Outcome::Held) };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PickReport {
    pub outcome: wire::Outcome,
    /// When it was over, in Unix time; absent: now.
    pub done_ns: Option<u64>,
    /// How far the pressure in the cups fell below the air's, in pascals; absent: not measured.
    pub vacuum_pa: Option<f64>,
    /// What hung on the tool, in kilograms; absent: not weighed.
    pub weight_kg: Option<f64>,
    /// What a later station read it to be, in the words of the model's types; empty: not read.
    pub package_type: String,
    /// Who reports, for people; may be empty.
    pub reporter: String,
}

impl PickReport {
    pub fn new(outcome: wire::Outcome) -> PickReport {
        PickReport {
            outcome,
            done_ns: None,
            vacuum_pa: None,
            weight_kg: None,
            package_type: String::new(),
            reporter: String::new(),
        }
    }
}

impl Pick {
    /// `None` if the result has no such package or grasp.
    pub(crate) fn of(result: &wire::Packages, package: usize, grasp: usize) -> Option<Pick> {
        let package = result.packages.get(package)?;
        package.grasps.get(grasp)?;
        Some(Pick {
            cell: result.cell.clone(),
            instance_id: result.instance_id.clone(),
            publication: result.publication,
            stamp_ns: result.stamp_ns,
            track_id: package.track_id,
            grasp_index: u32::try_from(grasp).ok()?,
        })
    }

    /// The message that tells it.
    ///
    /// # Errors
    /// If a reader would refuse it: a number that is none, a text that is too long, a time before the
    /// exposure or in the future.
    pub fn report(
        &self,
        report: &PickReport,
        now_ns: u64,
    ) -> Result<wire::PickOutcome, OutcomeRefusal> {
        let message = wire::PickOutcome {
            schema_version: wire::SCHEMA_VERSION,
            cell: self.cell.clone(),
            instance_id: self.instance_id.clone(),
            publication: self.publication,
            stamp_ns: self.stamp_ns,
            track_id: self.track_id,
            grasp_index: self.grasp_index,
            outcome: report.outcome.into(),
            vacuum_pa: report.vacuum_pa,
            weight_kg: report.weight_kg,
            r#type: report.package_type.clone(),
            reporter: report.reporter.clone(),
            done_ns: report.done_ns.unwrap_or_else(|| now_ns.max(self.stamp_ns)),
        };
        check(&message)?;
        check_done(&message, now_ns)?;
        Ok(message)
    }

    pub fn cell(&self) -> &str {
        &self.cell
    }

    pub fn track_id(&self) -> u64 {
        self.track_id
    }
}

/// Why a report is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OutcomeRefusal {
    #[error("a report has {OUTCOME_BYTES_MAX} bytes at most")]
    TooLarge,
    #[error("there are too many reports: an arm makes a few a second")]
    TooMany,
    #[error("it is not a magpie.v1.PickOutcome message: {why}")]
    Undecodable { why: String },
    #[error(
        "it has schema version {found}, this reader knows {}; use a client of the daemon's version",
        wire::SCHEMA_VERSION
    )]
    SchemaVersion { found: u32 },
    #[error("it belongs to cell {found:?}")]
    Cell { found: String },
    #[error("it is about a result of another publisher, {:?}", printable(found))]
    Instance { found: String },
    #[error("no result {publication} with this exposure was published")]
    UnknownResult { publication: u64 },
    #[error(
        "result {publication} is too old: reports are taken for {} minutes, and fewer where very many \
         packages are seen",
        OUTCOME_AGE_NS_MAX / 60_000_000_000
    )]
    TooOld { publication: u64 },
    #[error("result {publication} has no package with track id {track_id}")]
    UnknownTrack { publication: u64, track_id: u64 },
    #[error(
        "package {track_id} of that result has {grasps} grasps, and grasp {grasp_index} is none"
    )]
    UnknownGrasp { track_id: u64, grasp_index: u32, grasps: u16 },
    #[error(
        "outcome {found} is none of held (1), dropped (2), double (3), missed (4) and not_tried (5)"
    )]
    UnknownOutcome { found: i32 },
    #[error("{name} is {value}; name 0 to {max}, or leave it out where it was not measured")]
    Number { name: &'static str, value: f64, max: f64 },
    #[error("{name} has {bytes} bytes; {OUTCOME_TEXT_BYTES_MAX} are allowed")]
    Text { name: &'static str, bytes: usize },
    #[error(
        "the pick was over before the exposure of its result, or lies in the future: done_ns is Unix \
         time, and the clocks of both machines must agree"
    )]
    Time,
}

impl OutcomeRefusal {
    /// Every [`code`](Self::code), in the order of the enumeration.
    pub const CODES: [&'static str; 14] = [
        "too_large",
        "too_many",
        "undecodable",
        "schema_version",
        "cell",
        "instance",
        "unknown_result",
        "too_old",
        "unknown_track",
        "unknown_grasp",
        "unknown_outcome",
        "number",
        "text",
        "time",
    ];

    /// Stable, for programs to decide by; the text is for people.
    pub fn code(&self) -> &'static str {
        OutcomeRefusal::CODES[self.index()]
    }

    /// Where its code stands in [`CODES`](Self::CODES).
    pub fn index(&self) -> usize {
        match self {
            OutcomeRefusal::TooLarge => 0,
            OutcomeRefusal::TooMany => 1,
            OutcomeRefusal::Undecodable { .. } => 2,
            OutcomeRefusal::SchemaVersion { .. } => 3,
            OutcomeRefusal::Cell { .. } => 4,
            OutcomeRefusal::Instance { .. } => 5,
            OutcomeRefusal::UnknownResult { .. } => 6,
            OutcomeRefusal::TooOld { .. } => 7,
            OutcomeRefusal::UnknownTrack { .. } => 8,
            OutcomeRefusal::UnknownGrasp { .. } => 9,
            OutcomeRefusal::UnknownOutcome { .. } => 10,
            OutcomeRefusal::Number { .. } => 11,
            OutcomeRefusal::Text { .. } => 12,
            OutcomeRefusal::Time => 13,
        }
    }
}

/// A received report, if it is whole, of this cell, and of a version that is known here.
///
/// # Errors
/// If it is none of that.
pub fn decode_outcome(bytes: &[u8], cell: &str) -> Result<wire::PickOutcome, OutcomeRefusal> {
    if bytes.len() > OUTCOME_BYTES_MAX {
        return Err(OutcomeRefusal::TooLarge);
    }
    let report = wire::PickOutcome::decode(bytes)
        .map_err(|error| OutcomeRefusal::Undecodable { why: error.to_string() })?;
    if report.schema_version != wire::SCHEMA_VERSION {
        return Err(OutcomeRefusal::SchemaVersion { found: report.schema_version });
    }
    if report.cell != cell {
        return Err(OutcomeRefusal::Cell { found: printable(&report.cell).into_owned() });
    }
    check(&report)?;
    Ok(report)
}

fn check(report: &wire::PickOutcome) -> Result<(), OutcomeRefusal> {
    // What a newer reporter may say is not guessed at: this instance would count it wrongly.
    match wire::Outcome::try_from(report.outcome) {
        Ok(wire::Outcome::Unspecified) | Err(_) => {
            return Err(OutcomeRefusal::UnknownOutcome { found: report.outcome });
        }
        Ok(_) => {}
    }
    for (name, value, max) in [
        ("vacuum_pa", report.vacuum_pa, VACUUM_PA_MAX),
        ("weight_kg", report.weight_kg, WEIGHT_KG_MAX),
    ] {
        // What is not a number is in no range.
        if let Some(value) = value.filter(|value| !(0.0..=max).contains(value)) {
            return Err(OutcomeRefusal::Number { name, value, max });
        }
    }
    for (name, text) in [("type", &report.r#type), ("reporter", &report.reporter)] {
        if text.len() > OUTCOME_TEXT_BYTES_MAX {
            return Err(OutcomeRefusal::Text { name, bytes: text.len() });
        }
    }
    // A message that was cut short has no such time.
    if report.done_ns < report.stamp_ns || report.done_ns == 0 {
        return Err(OutcomeRefusal::Time);
    }
    Ok(())
}

fn check_done(report: &wire::PickOutcome, now_ns: u64) -> Result<(), OutcomeRefusal> {
    let latest_ns = now_ns.saturating_add(DONE_AHEAD_NS_MAX);
    if report.done_ns > latest_ns { Err(OutcomeRefusal::Time) } else { Ok(()) }
}

/// Which picks an instance has offered lately, in memory that is made once. Remembering is a copy of a
/// few numbers, so the loop may do it.
#[derive(Debug)]
pub struct PublishedLately {
    instance_id: String,
    /// Result number `n` has the place `n % RESULTS_MAX`.
    results: Box<[PublishedResult]>,
    /// Package number `n` has the place `n % PACKAGES_MAX`.
    packages: Box<[PublishedPackage]>,
    packages_count: u64,
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct PublishedResult {
    /// 0 while the place is empty.
    publication: u64,
    stamp_ns: u64,
    packages_first: u64,
    packages_end: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct PublishedPackage {
    track_id: u64,
    grasps: u16,
    is_reported: bool,
}

/// What a report that was taken is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The first one about its pick.
    First,
    /// It replaces an earlier one about the same pick.
    Amended,
}

impl PublishedLately {
    pub fn new(instance_id: String) -> PublishedLately {
        PublishedLately {
            instance_id,
            results: vec![PublishedResult::default(); RESULTS_MAX].into(),
            packages: vec![PublishedPackage::default(); PACKAGES_MAX].into(),
            packages_count: 0,
            newest: 0,
        }
    }

    /// Notes a result of this instance, as it is published. The oldest ones are forgotten.
    pub fn remember(&mut self, result: &wire::Packages) {
        let packages_first = self.packages_count;
        for package in &result.packages {
            let place = place(self.packages_count, PACKAGES_MAX);
            self.packages[place] = PublishedPackage {
                track_id: package.track_id,
                grasps: u16::try_from(package.grasps.len()).unwrap_or(u16::MAX),
                is_reported: false,
            };
            self.packages_count += 1;
        }
        self.newest = result.publication;
        self.results[place(result.publication, RESULTS_MAX)] = PublishedResult {
            publication: result.publication,
            stamp_ns: result.stamp_ns,
            packages_first,
            packages_end: self.packages_count,
        };
    }

    /// Takes a report that [`decode_outcome`] has found whole, if its pick was offered.
    ///
    /// # Errors
    /// If it was not, or too long ago, or the pick was over in the future.
    pub fn take(
        &mut self,
        report: &wire::PickOutcome,
        now_ns: u64,
    ) -> Result<Taken, OutcomeRefusal> {
        let (publication, track_id) = (report.publication, report.track_id);
        if report.instance_id != self.instance_id {
            return Err(OutcomeRefusal::Instance { found: report.instance_id.clone() });
        }
        check_done(report, now_ns)?;
        if publication == 0 || publication > self.newest {
            return Err(OutcomeRefusal::UnknownResult { publication });
        }
        let result = self.results[place(publication, RESULTS_MAX)];
        let is_forgotten = result.publication != publication
            || result.packages_first + (PACKAGES_MAX as u64) < self.packages_count;
        if is_forgotten {
            return Err(OutcomeRefusal::TooOld { publication });
        }
        if result.stamp_ns != report.stamp_ns {
            return Err(OutcomeRefusal::UnknownResult { publication });
        }
        if now_ns.saturating_sub(result.stamp_ns) > OUTCOME_AGE_NS_MAX {
            return Err(OutcomeRefusal::TooOld { publication });
        }
        let mut places =
            (result.packages_first..result.packages_end).map(|n| place(n, PACKAGES_MAX));
        let found = places.find(|place| self.packages[*place].track_id == track_id);
        let found = found.ok_or(OutcomeRefusal::UnknownTrack { publication, track_id })?;
        let package = &mut self.packages[found];
        let (grasps, grasp_index) = (package.grasps, report.grasp_index);
        if grasp_index >= u32::from(grasps) {
            return Err(OutcomeRefusal::UnknownGrasp { track_id, grasp_index, grasps });
        }
        let was_reported = std::mem::replace(&mut package.is_reported, true);
        Ok(if was_reported { Taken::Amended } else { Taken::First })
    }
}

fn place(number: u64, places: usize) -> usize {
    usize::try_from(number % places as u64).expect("less than the places, which are a usize")
}

impl wire::PickCounters {
    /// How many picks had each outcome, by its plain name.
    pub fn by_outcome(&self) -> [(&'static str, u64); 5] {
        [
            ("held", self.held),
            ("dropped", self.dropped),
            ("double", self.doubles),
            ("missed", self.missed),
            ("not_tried", self.not_tried),
        ]
    }

    /// How many reports came, taken or not.
    pub fn reports(&self) -> u64 {
        let taken = self.by_outcome().iter().map(|(_, count)| count).sum::<u64>() + self.amended;
        taken + self.refused.iter().map(|refused| refused.count).sum::<u64>()
    }

    /// On one line, for people.
    pub fn line(&self) -> String {
        let counts =
            self.by_outcome().map(|(name, count)| format!("{count} {}", name.replace('_', " ")));
        let mut line = counts.join(", ");
        if self.amended > 0 {
            line += &format!(", {} amended", self.amended);
        }
        if !self.refused.is_empty() {
            let reason = |refused: &wire::RefusedReports| {
                format!("{} {}", refused.count, printable(&refused.reason))
            };
            let reasons: Vec<_> = self.refused.iter().map(reason).collect();
            line += &format!("; reports refused: {}", reasons.join(", "));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const EXPOSED_NS: u64 = 1_000_000 * MS;
    const NOW_NS: u64 = EXPOSED_NS + 900 * MS;

    /// Result `publication` shows package 7 with two grasps and package 8 with none.
    fn result(publication: u64) -> wire::Packages {
        let package = |track_id, grasps| wire::Package {
            track_id,
            grasps: vec![wire::Grasp::default(); grasps],
            ..Default::default()
        };
        wire::Packages {
            schema_version: wire::SCHEMA_VERSION,
            cell: "dock".into(),
            instance_id: "one".into(),
            publication,
            stamp_ns: EXPOSED_NS + publication,
            packages: vec![package(7, 2), package(8, 0)],
            ..Default::default()
        }
    }

    fn pick() -> Pick {
        Pick::of(&result(3), 0, 1).unwrap()
    }

    fn whole() -> PickReport {
        PickReport {
            vacuum_pa: Some(61_000.0),
            weight_kg: Some(0.41),
            package_type: "box".into(),
            reporter: "arm".into(),
            ..PickReport::new(wire::Outcome::Held)
        }
    }

    fn report() -> wire::PickOutcome {
        pick().report(&whole(), NOW_NS).unwrap()
    }

    fn published(count: u64) -> PublishedLately {
        let mut published = PublishedLately::new("one".into());
        for publication in 1..=count {
            published.remember(&result(publication));
        }
        published
    }

    fn judge(report: &wire::PickOutcome) -> Result<Taken, OutcomeRefusal> {
        decode_outcome(&report.encode_to_vec(), "dock")
            .and_then(|report| published(4).take(&report, NOW_NS))
    }

    /// The reason why the report is refused once it was changed.
    fn check_refused(code: &str, change: impl FnOnce(&mut wire::PickOutcome)) {
        let mut changed = report();
        change(&mut changed);
        assert_eq!(judge(&changed).map_err(|refusal| refusal.code()), Err(code));
    }

    #[test]
    fn a_report_says_what_it_was_made_of_and_is_taken() {
        let report = report();
        assert_eq!((report.publication, report.track_id, report.grasp_index), (3, 7, 1));
        assert_eq!((report.stamp_ns, report.done_ns), (EXPOSED_NS + 3, NOW_NS));
        assert_eq!(decode_outcome(&report.encode_to_vec(), "dock").unwrap(), report);
        assert_eq!(judge(&report), Ok(Taken::First));
        assert_eq!(Pick::of(&result(3), 0, 2), None);
        assert_eq!(Pick::of(&result(3), 2, 0), None);
    }

    #[test]
    fn a_later_report_about_the_same_pick_amends_it_and_one_about_another_result_does_not() {
        let mut published = published(4);
        assert_eq!(published.take(&report(), NOW_NS), Ok(Taken::First));
        assert_eq!(published.take(&report(), NOW_NS + 5000 * MS), Ok(Taken::Amended));
        let other = Pick::of(&result(4), 0, 1).unwrap().report(&whole(), NOW_NS).unwrap();
        assert_eq!(published.take(&other, NOW_NS), Ok(Taken::First));
    }

    #[test]
    fn what_was_not_offered_or_is_not_whole_is_refused_by_name() {
        check_refused("schema_version", |report| report.schema_version = 0);
        check_refused("schema_version", |report| report.schema_version = 2);
        check_refused("cell", |report| report.cell = "deck".into());
        check_refused("instance", |report| report.instance_id = "rival".into());
        check_refused("unknown_result", |report| report.publication = 0);
        check_refused("unknown_result", |report| report.publication = 5);
        check_refused("unknown_result", |report| report.publication = u64::MAX);
        check_refused("unknown_result", |report| report.stamp_ns += 1);
        check_refused("unknown_track", |report| report.track_id = 9);
        check_refused("unknown_grasp", |report| report.grasp_index = 2);
        check_refused("unknown_grasp", |report| report.grasp_index = u32::MAX);
        check_refused("unknown_grasp", |report| report.track_id = 8);
        check_refused("unknown_outcome", |report| report.outcome = 0);
        check_refused("unknown_outcome", |report| report.outcome = 6);
        check_refused("unknown_outcome", |report| report.outcome = -1);
        for value in [f64::NAN, f64::INFINITY, -0.1, 1e9] {
            check_refused("number", |report| report.weight_kg = Some(value));
            check_refused("number", |report| report.vacuum_pa = Some(value));
        }
        check_refused("text", |report| report.r#type = "x".repeat(65));
        check_refused("text", |report| report.reporter = "é".repeat(33));
        check_refused("too_large", |report| report.reporter = "x".repeat(2000));
        check_refused("time", |report| report.done_ns = report.stamp_ns - 1);
        check_refused("time", |report| report.done_ns = NOW_NS + 1001 * MS);
        check_refused("time", |report| report.done_ns = u64::MAX);
        check_refused("time", |report| report.done_ns = 0);
    }

    #[test]
    fn no_part_of_a_report_passes_for_the_whole() {
        let bytes = report().encode_to_vec();
        for length in 0..bytes.len() {
            let cut = decode_outcome(&bytes[..length], "dock");
            assert!(cut.is_err(), "{length} of {} bytes: {cut:?}", bytes.len());
        }
        assert!(decode_outcome(b"no message at all", "dock").is_err());
    }

    #[test]
    fn the_longest_report_fits() {
        let long = "x".repeat(OUTCOME_TEXT_BYTES_MAX);
        let longest = wire::PickOutcome {
            cell: long.clone(),
            // zenoh's id and a time, in hexadecimal.
            instance_id: long.clone(),
            publication: u64::MAX,
            track_id: u64::MAX,
            grasp_index: u32::MAX,
            r#type: long.clone(),
            reporter: long,
            ..report()
        };
        assert!(longest.encode_to_vec().len() <= 500, "{}", longest.encode_to_vec().len());
    }

    #[test]
    fn a_reporter_hears_at_once_what_would_be_refused() {
        let told = |change: fn(&mut PickReport)| {
            let mut report = whole();
            change(&mut report);
            pick().report(&report, NOW_NS).map_err(|refusal| refusal.code())
        };
        assert_eq!(told(|report| report.weight_kg = Some(f64::NAN)), Err("number"));
        assert_eq!(told(|report| report.package_type = "x".repeat(65)), Err("text"));
        assert_eq!(told(|report| report.done_ns = Some(5)), Err("time"));
        assert_eq!(
            told(|report| report.outcome = wire::Outcome::Unspecified),
            Err("unknown_outcome")
        );
        // Whose clock is behind by less than results allow.
        let report = pick().report(&whole(), EXPOSED_NS - MS).unwrap();
        assert_eq!(report.done_ns, report.stamp_ns);
    }

    #[test]
    fn old_results_are_forgotten_by_time_by_number_and_by_what_they_hold() {
        let late = NOW_NS + OUTCOME_AGE_NS_MAX;
        let outcome = published(4).take(&report(), late);
        assert_eq!(outcome.map_err(|refusal| refusal.code()), Err("too_old"));

        let results = RESULTS_MAX as u64;
        let code = |published: &mut PublishedLately| {
            published.take(&report(), NOW_NS).map_err(|refusal| refusal.code())
        };
        assert_eq!(code(&mut published(results + 2)), Ok(Taken::First));
        assert_eq!(code(&mut published(results + 3)), Err("too_old"));

        let crowd = |publication, count| wire::Packages {
            packages: vec![wire::Package::default(); count],
            ..result(publication)
        };
        let mut crowded = published(3);
        // Results 1 and 2 hold four of the places.
        crowded.remember(&crowd(4, PACKAGES_MAX - 2));
        assert_eq!(code(&mut crowded), Ok(Taken::First));
        crowded.remember(&crowd(5, 1));
        assert_eq!(code(&mut crowded), Err("too_old"));
        // More than there is room for.
        crowded.remember(&crowd(6, PACKAGES_MAX + 1));
        let report = wire::PickOutcome { publication: 6, track_id: 0, ..report() };
        let report = wire::PickOutcome { stamp_ns: EXPOSED_NS + 6, ..report };
        let outcome = crowded.take(&report, NOW_NS).map_err(|refusal| refusal.code());
        assert_eq!(outcome, Err("too_old"));
    }

    #[test]
    fn every_refusal_has_a_code_of_its_own() {
        let codes: std::collections::BTreeSet<_> = OutcomeRefusal::CODES.into_iter().collect();
        assert_eq!(codes.len(), OutcomeRefusal::CODES.len());
        assert_eq!(OutcomeRefusal::Time.code(), "time");
        let proto = include_str!("../proto/magpie/v1/status.proto").replace("\n  //", "");
        assert!(proto.contains(&OutcomeRefusal::CODES.join(", ")), "the schema lists the codes");
    }

    #[test]
    fn counters_are_told_on_one_line() {
        let mut counters = wire::PickCounters { held: 12, not_tried: 1, ..Default::default() };
        assert_eq!(counters.line(), "12 held, 0 dropped, 0 double, 0 missed, 1 not tried");
        counters.amended = 2;
        let refused = wire::RefusedReports { reason: "instance".into(), count: 3 };
        counters.refused = vec![refused];
        assert!(counters.line().ends_with("not tried, 2 amended; reports refused: 3 instance"));
        assert_eq!(counters.reports(), 18);
    }
}
