//! The simulated cell with its eyes, publishing as a daemon does.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use magpie_client::ZenohConfig;
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome, ended_by, not_joined};
use magpie_daemon::model;
use magpie_daemon::run::open_transport;
use magpie_network::SystemClock;
use magpie_perception::{
    Counters, Edges, Frame, FrameSource, SharedClock, SourceError, StampSource, Tool,
    run as run_pipeline,
};
use magpie_transport::{StatusSnapshot, Transport};
use magpie_wire::{CellName, PickCounters, Reason, State};
use magpie_workcell::{PickingCell, Recipe};
use tokio::runtime::Runtime;

use crate::simulated;

const NAME: &str = "simulated";
/// A report takes a millisecond to the cell.
const REPORT_WAIT: Duration = Duration::from_secs(2);

pub(super) struct SimulatedCell {
    pub(super) name: CellName,
    pub(super) clock: SharedClock,
    pub(super) tool: Tool,
    /// Where it listens.
    pub(super) zenoh: ZenohConfig,
    goods: Arc<Mutex<PickingCell>>,
    is_over: Arc<AtomicBool>,
    pipeline: JoinHandle<Outcome>,
    /// Dropped in this order.
    transport: Transport,
    _runtime: Runtime,
}

impl SimulatedCell {
    pub(super) fn start(
        mut config: Config,
        model: Option<&Path>,
        recipe: Recipe,
        seed: u64,
        interrupt_every: u64,
    ) -> Result<SimulatedCell, Failure> {
        config.cell = CellName::new(NAME).expect("a constant name");
        let goods = PickingCell::new(recipe, seed).map_err(Failure::config)?;
        let (camera_info, base_from_camera) =
            (goods.camera_info().clone(), goods.base_from_camera());
        let scene = simulated::scene(camera_info, base_from_camera, config.tool.clone(), seed);
        let model = model::chosen(model, &config)?;
        let mut session = model::load(&model, &config.session)?;
        let limits = config.limits(model.spec().score_min);

        let clock = SystemClock::start();
        let counters = Arc::new(Counters::default());
        let runtime = Runtime::new().map_err(Failure::fault)?;
        let (transport, mut publisher) =
            open_transport(&runtime, &config, Some(&scene), &session, &clock, &counters, None)
                .map_err(not_joined)?;
        let fallback =
            session.fallback_reason().map(|why| Reason::ProviderFallback { why: why.into() });
        transport.status().set(StatusSnapshot {
            state: if fallback.is_some() { State::Degraded } else { State::Ok },
            reasons: fallback.into_iter().collect(),
            camera: "simulated".into(),
            ..StatusSnapshot::default()
        });

        let (goods, is_over) = (Arc::new(Mutex::new(goods)), Arc::new(AtomicBool::new(false)));
        let mut camera = SimulatedCamera {
            goods: Arc::clone(&goods),
            clock: Arc::clone(&clock),
            is_over: Arc::clone(&is_over),
            interrupt_every,
            interruption: Duration::from_nanos(2 * limits.result_valid_ns),
            exposures: 0,
        };
        let pipeline_clock = Arc::clone(&clock);
        let pipeline = move || {
            let mut edges = Edges {
                source: &mut camera,
                session: &mut session,
                publisher: &mut publisher,
                clock: pipeline_clock.as_ref(),
            };
            run_pipeline(&mut edges, Some(&scene), &limits, &counters).map_err(ended_by)
        };
        let pipeline = std::thread::Builder::new().name("pipeline".into()).spawn(pipeline);
        Ok(SimulatedCell {
            name: config.cell,
            clock,
            tool: config.tool,
            zenoh: ZenohConfig::Connect(transport.listens().to_vec()),
            goods,
            is_over,
            pipeline: pipeline.map_err(Failure::fault)?,
            transport,
            _runtime: runtime,
        })
    }

    pub(super) fn goods(&self) -> MutexGuard<'_, PickingCell> {
        lock(&self.goods)
    }

    /// What the cell has counted, once so many reports have come, or none comes any more.
    pub(super) fn counted(&self, reports: u64) -> PickCounters {
        let mut left = REPORT_WAIT;
        loop {
            let counted = self.transport.status_message().picks.unwrap_or_default();
            if counted.reports() >= reports || left.is_zero() {
                return counted;
            }
            std::thread::sleep(REPORT_WAIT / 100);
            left = left.saturating_sub(REPORT_WAIT / 100);
        }
    }

    pub(super) fn stop(self) -> Outcome {
        self.is_over.store(true, Ordering::Relaxed);
        self.pipeline.join().expect("the pipeline does not panic")
    }
}

fn lock(goods: &Mutex<PickingCell>) -> MutexGuard<'_, PickingCell> {
    goods.lock().expect("nobody panics who holds the goods")
}

struct SimulatedCamera {
    goods: Arc<Mutex<PickingCell>>,
    clock: SharedClock,
    is_over: Arc<AtomicBool>,
    interrupt_every: u64,
    interruption: Duration,
    exposures: u64,
}

impl FrameSource for SimulatedCamera {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if self.exposures > 0 && self.exposures.checked_rem(self.interrupt_every) == Some(0) {
            std::thread::sleep(self.interruption);
        }
        self.exposures += 1;
        loop {
            let sight = lock(&self.goods).sight();
            let mut frame = sight.expose();
            // To draw takes longer than an exposure, so it counts as exposed when it is drawn, if it
            // still shows the cell.
            let goods = lock(&self.goods);
            if goods.is_as_in(&sight) {
                frame.stamp = self.clock.now();
                frame.stamp_source = StampSource::Exposure;
                return Ok(Some(frame));
            }
        }
    }
}
