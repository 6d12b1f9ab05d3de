//! A trial: faults at random, one after another in each cell, and what became of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use magpie_client::wire::State;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cell::Cell;
use super::fault::{self, Fault, Promise};
use super::{lateness, now};

const TICK: Duration = Duration::from_millis(5);
const FIRST_RESULT_MAX: Duration = Duration::from_secs(60);
/// A machine that is busy gets at most so much more time.
const GRACE_MAX: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Row {
    injected: u32,
    survived: u32,
    worst_recovery: Duration,
}

/// What became of all faults.
#[derive(Default)]
pub(crate) struct Table {
    rows: BTreeMap<Fault, Row>,
    broken: Vec<String>,
    accepted: u64,
    published: u64,
    left_out: Vec<Fault>,
    took: Duration,
}

/// Runs `faults` faults in `cells` cells at a time.
pub(crate) fn run(faults: u64, cells: u64, seed: u64) -> Table {
    lateness::measure();
    let began = now();
    let share = |index: u64| faults / cells + u64::from(index < faults % cells);
    let tables: Vec<Table> = std::thread::scope(|scope| {
        let start = |index| {
            let thread = std::thread::Builder::new().name(format!("cell {index}"));
            let random = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1 << 16) + index);
            thread.spawn_scoped(scope, move || try_cell(share(index), random)).unwrap()
        };
        let threads: Vec<_> = (0..cells).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut all = Table { took: began.elapsed(), ..Table::default() };
    for table in tables {
        all.add(table);
    }
    all
}

fn try_cell(faults: u64, mut random: ChaCha8Rng) -> Table {
    let mut table = Table::default();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut cell = Cell::start(folder);
    let has_mount = fault::mount_disk(folder);
    let kinds = fault::ALL.iter().copied().filter(|kind| has_mount || !kind.needs_mount());
    let kinds: Vec<Fault> = kinds.collect();
    table.left_out = fault::ALL.iter().copied().filter(|kind| !kinds.contains(kind)).collect();
    if let Err(why) = wait(FIRST_RESULT_MAX, || cell.is_well()) {
        table.broken.push(format!("the cell does not start: {why}; {}", log_end(&cell)));
    }
    for _ in 0..faults {
        if !table.broken.is_empty() {
            // What comes after the first broken promise says little.
            break;
        }
        let kind = kinds[random.random_range(0..kinds.len())];
        let outcome = try_fault(kind, &mut cell, &mut random);
        let row = table.rows.entry(kind).or_default();
        row.injected += 1;
        match outcome {
            Ok(recovery) => {
                row.survived += 1;
                row.worst_recovery = row.worst_recovery.max(recovery);
            }
            Err(why) => {
                table.broken.push(format!("{kind:?}: {why}; {}", log_end(&cell)));
            }
        }
    }
    {
        let seen = cell.seen();
        (table.accepted, table.published) = (seen.accepted, seen.published);
    }
    drop(cell);
    fault::unmount_disk(folder);
    table
}

/// Returns how long it took until all was well again.
fn try_fault(kind: Fault, cell: &mut Cell, random: &mut ChaCha8Rng) -> Result<Duration, String> {
    let struck_at = now();
    let struck = kind.strike(cell, random);
    // What a peer needs to join is no part of what it does.
    let end = now() + struck.lasts;
    if let Some((promise, within)) = struck.promise {
        let is_kept = |cell: &mut Cell| is_kept(promise, cell);
        // A fault that is shorter than its promise need not be noticed.
        let must = matches!(promise, Promise::Exit(_)) || struck.lasts > within;
        let mut kept = false;
        while !kept && (must || now() < end) {
            kept = is_kept(cell);
            let spent = struck_at.elapsed();
            if must && !kept && spent > within + grace(struck_at) {
                return Err(format!("{promise:?} was not seen within {spent:?}: {}", says(cell)));
            }
            std::thread::sleep(TICK);
        }
        // What was noticed is not forgotten while it lasts.
        let lasts = |promise| !matches!(promise, Promise::Exit(_));
        while kept && lasts(promise) && now() < end {
            if !is_kept(cell) {
                return Err(format!("{promise:?} was seen, and then not any more: {}", says(cell)));
            }
            std::thread::sleep(TICK);
        }
    }
    std::thread::sleep(end.saturating_duration_since(now()));
    let recovers = struck.recovers;
    kind.lift(cell, struck);
    let lifted = now();
    while !cell.is_well() {
        if lifted.elapsed() > recovers + grace(lifted) {
            let spent = lifted.elapsed();
            return Err(format!("not well {spent:?} after it was over: {}", says(cell)));
        }
        std::thread::sleep(TICK);
    }
    let recovery = lifted.elapsed();
    if !cell.is_watched() {
        return Err("arm or onlooker has ended: see above".into());
    }
    if cell.has_ended() {
        return Err("the daemon has ended".into());
    }
    match cell.seen().broken.first() {
        Some(why) => Err(why.clone()),
        None => Ok(recovery),
    }
}

/// What daemon and arm say at the moment.
fn says(cell: &Cell) -> String {
    let seen = cell.seen();
    let (state, reasons, answer, why) = (seen.state, &seen.reasons, seen.answer, &seen.why);
    format!("the daemon says {state:?} {reasons:?}, the arm hears {answer:?} ({why})")
}

fn is_kept(promise: Promise, cell: &mut Cell) -> bool {
    match promise {
        Promise::Reason(code) => {
            let seen = cell.seen();
            seen.state != Some(State::Ok) && seen.reasons.iter().any(|reason| reason == code)
        }
        Promise::ClockSteps { before } => {
            let seen = cell.seen();
            let is_told = seen.reasons.iter().any(|reason| reason == "clock_stepped");
            is_told && seen.clock_steps > before
        }
        Promise::NotFresh => !cell.is_fresh(),
        Promise::Exit(code) => {
            if !cell.has_ended() {
                return false;
            }
            match cell.wait_for_exit(TICK) {
                Ok(Some(found)) if found == code => {}
                other => cell.seen().broken.push(format!("it ended with {other:?}, not {code}")),
            }
            true
        }
    }
}

fn grace(since: Instant) -> Duration {
    lateness::since(since).min(GRACE_MAX)
}

fn wait(patience: Duration, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let began = now();
    while !done() {
        if began.elapsed() > patience {
            return Err(format!("nothing within {patience:?}"));
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// The last lines that the daemon wrote.
fn log_end(cell: &Cell) -> String {
    let log = std::fs::read_to_string(cell.folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    format!("its log ends:\n    {}", lines[lines.len().saturating_sub(8)..].join("\n    "))
}

impl Table {
    fn add(&mut self, other: Table) {
        for (kind, row) in other.rows {
            let sum = self.rows.entry(kind).or_default();
            sum.injected += row.injected;
            sum.survived += row.survived;
            sum.worst_recovery = sum.worst_recovery.max(row.worst_recovery);
        }
        self.broken.extend(other.broken);
        self.accepted += other.accepted;
        self.published += other.published;
        self.left_out = other.left_out;
    }

    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | injected | survived | worst recovery |\n|---|---|---|---|")?;
        let (mut injected, mut survived) = (0, 0);
        for (kind, row) in &self.rows {
            let worst_s = row.worst_recovery.as_secs_f64();
            writeln!(f, "| {kind:?} | {} | {} | {worst_s:.2} s |", row.injected, row.survived)?;
            (injected, survived) = (injected + row.injected, survived + row.survived);
        }
        writeln!(f, "| all | {injected} | {survived} | |\n")?;
        let minutes = self.took.as_secs_f64() / 60.0;
        write!(
            f,
            "{} results published, {} acted upon, {minutes:.1} minutes",
            self.published, self.accepted
        )?;
        if !self.left_out.is_empty() {
            write!(f, "; left out, since they need root: {:?}", self.left_out)?;
        }
        Ok(())
    }
}
