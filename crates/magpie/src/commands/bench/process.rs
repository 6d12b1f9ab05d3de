//! Memory, threads and processor time of this process, from Linux and from the allocator.

use rustix::time::{ClockId, clock_gettime};

/// Memory of this process that is in RAM; `None` where the kernel does not say.
pub(super) fn rss_bytes() -> Option<u64> {
    Some(status("VmRSS:")? * 1024)
}

pub(super) fn threads() -> Option<u64> {
    status("Threads:")
}

/// Open files and sockets.
pub(super) fn descriptors() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

/// The processor, and how many cores this program may use.
pub(super) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let name =
        name.map_or(std::env::consts::ARCH, |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{name}, {cores} cores")
}

fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

pub(super) fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let part = |value: i64| u64::try_from(value).expect("processor time is not negative");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// Allocations of all threads since the program started; ONNX Runtime's are not among them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allocations {
    pub count: u64,
    pub bytes: u64,
    /// Bytes that are not yet freed.
    pub live_bytes: u64,
}

/// All zero in a program that has another allocator than `magpie`.
pub(super) fn allocations() -> Allocations {
    let stats = stats_alloc::INSTRUMENTED_SYSTEM.stats();
    Allocations {
        count: (stats.allocations + stats.reallocations) as u64,
        bytes: stats.bytes_allocated as u64,
        live_bytes: stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) as u64,
    }
}
