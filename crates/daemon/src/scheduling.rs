//! Optional real-time scheduling of the thread that carries frames and of the model's threads; those
//! that only look on give way.

use magpie_perception::BoxError;
use rustix::mm::MlockAllFlags;
use rustix::thread::CpuSet;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Of threads that write or show what was found.
const NICENESS: i32 = 5;

/// `[scheduling]`, checked. The default leaves everything as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// `SCHED_FIFO`, 1 to 99.
    pub fifo_priority: Option<u8>,
    /// All of them where empty.
    pub cpus: Vec<usize>,
    pub lock_memory: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SchedulingError {
    #[error(
        "take the real-time priority {priority} that scheduling.fifo_priority asks for; allow it \
         by LimitRTPRIO= in the unit, as systemd/magpie-realtime.conf does, or set it to 0"
    )]
    Priority { priority: u8, source: BoxError },
    #[error("run on the processors {cpus:?} that scheduling.cpus asks for; name ones that exist")]
    Cpus { cpus: Vec<usize>, source: rustix::io::Errno },
    #[error(
        "lock memory as scheduling.lock_memory asks; allow it by LimitMEMLOCK=infinity in the \
         unit, as systemd/magpie-realtime.conf does, or set it to false"
    )]
    Lock { source: rustix::io::Errno },
}

impl Scheduling {
    /// Schedules the calling thread, and those that it starts from now on: they inherit it.
    pub fn enter(&self) -> Result<(), SchedulingError> {
        if !self.cpus.is_empty() {
            let mut set = CpuSet::new();
            for &cpu in &self.cpus {
                set.set(cpu);
            }
            rustix::thread::sched_setaffinity(None, &set)
                .map_err(|source| SchedulingError::Cpus { cpus: self.cpus.clone(), source })?;
        }
        let Some(priority) = self.fifo_priority else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Debug| SchedulingError::Priority {
            priority,
            source: format!("{error:?}").into(),
        };
        let level = priority.try_into().map_err(|error| failed(&error))?;
        let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
        let level = ThreadPriority::Crossplatform(level);
        set_thread_priority_and_policy(thread_native_id(), level, fifo)
            .map_err(|error| failed(&error))
    }

    /// Locks the memory that the process has and will ask for.
    pub fn lock_memory(&self) -> Result<(), SchedulingError> {
        if !self.lock_memory {
            return Ok(());
        }
        rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)
            .map_err(|source| SchedulingError::Lock { source })
    }
}

/// Makes the calling thread the first of a rayon pool, whose others inherit how it is scheduled:
/// what it shares it begins at once, and does alone what no other thread takes. Outside of a pool it
/// would wait until another thread has woken, however little there is to do.
pub fn lead_pool() -> Result<(), rayon::ThreadPoolBuildError> {
    if rayon::current_thread_index().is_none() {
        // The pool lives as long as the process.
        std::mem::forget(rayon::ThreadPoolBuilder::new().use_current_thread().build()?);
    }
    Ok(())
}

/// Lets everything that makes results go before this thread: Linux keeps a nice value for each one.
pub(crate) fn give_way() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "lower the priority of a thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_its_children_stay_on_the_processors_they_were_given() {
        let on_first = || rustix::thread::sched_getaffinity(None).unwrap();
        let scheduling = Scheduling { cpus: vec![0], ..Scheduling::default() };
        let inherited = std::thread::scope(|scope| {
            let parent = scope.spawn(|| {
                scheduling.enter().unwrap();
                std::thread::scope(|scope| scope.spawn(on_first).join().unwrap())
            });
            parent.join().unwrap()
        });
        assert!(inherited.is_set(0));
        assert_eq!(inherited.count(), 1);
    }

    #[test]
    fn a_processor_that_is_not_there_is_named() {
        let scheduling = Scheduling { cpus: vec![1000], ..Scheduling::default() };
        let refused =
            std::thread::scope(|scope| scope.spawn(|| scheduling.enter()).join().unwrap());
        assert!(refused.unwrap_err().to_string().contains("1000"));
    }
}
