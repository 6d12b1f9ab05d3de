//! The thread that looks at copied frames and carries out the page's orders, and the loop's side of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use magpie_perception::{BgrImage, Frame, SharedClock, StampNs};
use magpie_web::{Answer, CalibrationOrder, Page};
use serde_json::json;
use tokio::sync::oneshot;

use super::session::{Session, SessionOptions, StopOrder};
use crate::failure::one_line;
use crate::scheduling::give_way;

/// Orders come from people; more at once are refused.
const ORDERS_MAX: usize = 8;
/// How long the picture of a stop is waited for.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// The calibration of a run. Dropped, it ends, and what was collected is forgotten.
pub(crate) struct CalibrationDesk {
    sender: SyncSender<Work>,
    shared: Arc<Shared>,
}

pub(crate) struct DeskOptions {
    pub(crate) session: SessionOptions,
    /// Shortest time between two pictures.
    pub(crate) period: Duration,
    pub(crate) jpeg_quality_percent: u8,
}

/// The loop's side: hands a frame over while somebody looks.
pub(crate) struct CalibrationTap {
    sender: SyncSender<Work>,
    shared: Arc<Shared>,
    period: Duration,
    due: StampNs,
}

struct Shared {
    page: Page,
    /// A frame is being looked at.
    is_busy: AtomicBool,
    /// A stop waits for its picture.
    is_awaited: AtomicBool,
    has_ended: AtomicBool,
}

enum Work {
    Look(Box<Copied>),
    Order(CalibrationOrder, oneshot::Sender<Answer>),
    End,
}

struct Copied {
    color: BgrImage,
    sequence: u64,
    stamp: StampNs,
}

impl CalibrationDesk {
    pub(crate) fn start(
        options: DeskOptions,
        page: &Page,
        clock: &SharedClock,
    ) -> std::io::Result<(CalibrationDesk, CalibrationTap)> {
        let (sender, receiver) = sync_channel(ORDERS_MAX);
        let shared = Arc::new(Shared {
            page: page.clone(),
            is_busy: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        });
        let orders = sender.clone();
        page.set_calibrate(move |order| {
            let (answer, answered) = oneshot::channel();
            // Of a thread that has ended nobody answers, which the page says.
            let sent = orders.try_send(Work::Order(order, answer));
            if let Err(TrySendError::Full(Work::Order(_, answer))) = sent {
                let why = "the calibration is busy with other orders; try again in a moment";
                let _ = answer.send(Err(why.into()));
            }
            answered
        });
        let period = options.period;
        let worker = Worker {
            session: Session::new(options.session),
            shared: Arc::clone(&shared),
            clock: Arc::clone(clock),
            jpeg_quality_percent: options.jpeg_quality_percent,
            picture: Picture::default(),
            waiting: None,
        };
        std::thread::Builder::new()
            .name("magpie-calibrate".into())
            .spawn(move || worker.work(&receiver))?;
        let tap = CalibrationTap {
            sender: sender.clone(),
            shared: Arc::clone(&shared),
            period,
            due: StampNs(0),
        };
        Ok((CalibrationDesk { sender, shared }, tap))
    }
}

impl Drop for CalibrationDesk {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        // Where there is no room, the thread sees it after the order that it is busy with.
        let _ = self.sender.try_send(Work::End);
    }
}

impl CalibrationTap {
    pub(crate) fn offer(&mut self, frame: &Frame) {
        let shared = &self.shared;
        let is_wanted = shared.is_awaited.load(Ordering::Relaxed)
            || (frame.stamp >= self.due && shared.page.is_calibration_looked_at());
        if !is_wanted || shared.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        self.due = frame.stamp + self.period;
        let (color, sequence, stamp) = (frame.color.clone(), frame.sequence, frame.stamp);
        let copied = Box::new(Copied { color, sequence, stamp });
        if self.sender.try_send(Work::Look(copied)).is_err() {
            shared.is_busy.store(false, Ordering::Release);
        }
    }
}

/// The newest picture, as it is shown.
#[derive(Default)]
struct Picture {
    jpeg: Vec<u8>,
    stamp: Option<StampNs>,
    problem: Option<String>,
}

/// A stop whose picture has not come yet.
struct Waiting {
    stop: StopOrder,
    since: StampNs,
    answer: oneshot::Sender<Answer>,
}

struct Worker {
    session: Session,
    shared: Arc<Shared>,
    clock: SharedClock,
    jpeg_quality_percent: u8,
    picture: Picture,
    waiting: Option<Waiting>,
}

impl Worker {
    fn work(mut self, receiver: &Receiver<Work>) {
        give_way();
        self.show(false);
        while !self.shared.has_ended.load(Ordering::Relaxed) {
            match self.receive(receiver) {
                Ok(Work::Look(copied)) => {
                    self.look(&copied);
                    self.shared.is_busy.store(false, Ordering::Release);
                }
                Ok(Work::Order(order, answer)) => self.carry_out(order, answer),
                Ok(Work::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.give_up_waiting(),
            }
        }
    }

    fn receive(&self, receiver: &Receiver<Work>) -> Result<Work, RecvTimeoutError> {
        let Some(waiting) = &self.waiting else {
            return receiver.recv().map_err(|_| RecvTimeoutError::Disconnected);
        };
        let waited = Duration::from_nanos(self.clock.now().since_ns(waiting.since));
        receiver.recv_timeout(STOP_TIME_MAX.saturating_sub(waited))
    }

    fn look(&mut self, copied: &Copied) {
        let Copied { color, sequence, stamp } = copied;
        self.session.look(color, *sequence);
        // A picture from before the order may show the arm on its way.
        if let Some(waiting) = self.waiting.take_if(|waiting| *stamp >= waiting.since) {
            self.shared.is_awaited.store(false, Ordering::Relaxed);
            let _ = waiting.answer.send(self.session.take_stop(&waiting.stop, color));
        }
        self.picture = match magpie_camera::encode_jpeg(color, self.jpeg_quality_percent) {
            Ok(jpeg) => Picture { jpeg, stamp: Some(*stamp), problem: None },
            Err(error) => Picture {
                jpeg: Vec::new(),
                stamp: Some(*stamp),
                problem: Some(one_line(&error.into())),
            },
        };
        self.show(false);
    }

    fn carry_out(&mut self, order: CalibrationOrder, answer: oneshot::Sender<Answer>) {
        // Whoever asked has been told that it took too long: what is done now would surprise.
        if answer.is_closed() {
            return;
        }
        match order {
            CalibrationOrder::Compute { collection, reading }
                if self.session.is_computed(collection, reading.as_ref()) =>
            {
                let _ = answer.send(Ok("computed already: see the result".to_owned()));
            }
            CalibrationOrder::Compute { collection, reading } => {
                let open = self.session.check_open(collection);
                let is_open = open.is_ok();
                let _ = answer.send(open.map(|()| "computing".to_owned()));
                if is_open {
                    self.show(true);
                    self.session.compute(collection, reading.as_ref());
                }
            }
            CalibrationOrder::TakeStop { .. } if self.waiting.is_some() => {
                let why = "another stop is just being taken; try again in a moment";
                let _ = answer.send(Err(why.into()));
            }
            CalibrationOrder::TakeStop { collection, pose, units } => {
                match self.session.read_stop(collection, &pose, &units) {
                    Ok(stop) => {
                        self.waiting = Some(Waiting { stop, since: self.clock.now(), answer });
                        self.shared.is_awaited.store(true, Ordering::Relaxed);
                        return;
                    }
                    Err(why) => _ = answer.send(Err(why)),
                }
            }
            order => {
                let now = StampNs(self.clock.now().unix_ns(self.clock.unix_ahead_ns()));
                let _ = answer.send(self.session.carry_out(order, now));
            }
        }
        self.show(false);
    }

    fn give_up_waiting(&mut self) {
        self.shared.is_awaited.store(false, Ordering::Relaxed);
        let Some(waiting) = self.waiting.take() else { return };
        let why = format!(
            "no picture came within {} s: no stop was taken; see the state of the camera above",
            STOP_TIME_MAX.as_secs()
        );
        let _ = waiting.answer.send(Err(why));
    }

    fn show(&self, is_computing: bool) {
        let Picture { jpeg, stamp, problem } = &self.picture;
        let mut told = self.session.describe();
        let unix_ns = stamp.map(|stamp| stamp.unix_ns(self.clock.unix_ahead_ns()).to_string());
        told["stamp_ns"] = json!(unix_ns);
        told["problem"] = json!(problem);
        told["is_computing"] = json!(is_computing);
        self.shared.page.show_calibration(told, jpeg);
    }
}
