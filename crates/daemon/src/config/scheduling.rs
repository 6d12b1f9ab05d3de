//! `[scheduling]`: how the threads that carry frames and run the model are scheduled.

use rustix::thread::CpuSet;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};
use crate::scheduling::Scheduling;

/// `[scheduling]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SchedulingFile {
    fifo_priority: Option<u8>,
    cpus: Option<Vec<usize>>,
    lock_memory: Option<bool>,
}

pub(super) fn check(
    checker: &Checker<'_>,
    file: SchedulingFile,
) -> Result<Scheduling, ConfigError> {
    let priority = shipped(file.fifo_priority);
    if priority > 99 {
        let why = "must lie between 1 and 99, or be 0 for the usual scheduling";
        checker.refuse("scheduling.fifo_priority", priority, why)?;
    }
    let cpus = shipped(file.cpus);
    if let Some(cpu) = cpus.iter().find(|cpu| **cpu >= CpuSet::MAX_CPU) {
        checker.refuse("scheduling.cpus", cpu, "is no processor; they count from 0")?;
    }
    Ok(Scheduling {
        fifo_priority: (priority > 0).then_some(priority),
        cpus,
        lock_memory: shipped(file.lock_memory),
    })
}
