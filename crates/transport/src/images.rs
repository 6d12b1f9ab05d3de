//! Images on demand: package indices per pixel, and the frame itself. Each is made on a thread of
//! its own, and only while somebody subscribes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use magpie_network::NetworkError;
use magpie_perception::{BgrImage, BoxError, StampNs};
use magpie_wire as wire;
use prost::Message;
use zenoh::bytes::ZBytes;
use zenoh::matching::MatchingStatus;
use zenoh::pubsub;
use zenoh::qos::Priority;
use zenoh::shm::{
    Defragment, GarbageCollect, PosixShmProviderBackend, ShmProvider, ShmProviderBuilder,
};
use zenoh::{Session, Wait};

use crate::latest::Latest;
use crate::shared::{Shared, declare, spawn};

/// Makes a JPEG file of a frame.
pub type JpegEncoder = Box<dyn FnMut(&BgrImage) -> Result<Vec<u8>, BoxError> + Send>;

/// Takes a result and its JPEG, or why that could not be made.
pub type ShowPicture = Box<dyn Fn(&wire::Packages, Result<&[u8], &str>) + Send + Sync>;

/// Somebody in this process who looks at pictures now and then.
pub struct Onlooker {
    /// Shortest time between two pictures.
    pub period: Duration,
    /// Asked by the frame thread, so it must answer at once.
    pub is_looking: Box<dyn Fn() -> bool + Send + Sync>,
    /// Called by a thread of its own.
    pub show: ShowPicture,
}

/// How many label images readers may hold at once before new ones are given up.
const LABEL_IMAGES_HELD_MAX: usize = 8;

/// The frame thread's side.
pub(crate) struct Images {
    labels: Latest<Arc<wire::Packages>>,
    pictures: Latest<Picture>,
    label_wanted: Arc<AtomicBool>,
    image_wanted: Arc<AtomicBool>,
    /// Shortest time between two frames on `image`.
    period: Duration,
    onlooker: Option<Onlooker>,
    /// The buffer of the last frame, to be filled again.
    spare: Mutex<Option<BgrImage>>,
    pub(crate) made: ImagesMade,
}

/// How many images were made because somebody wanted them.
#[derive(Debug, Default)]
pub(crate) struct ImagesMade {
    pub(crate) label_images: AtomicU64,
    pub(crate) images: AtomicU64,
}

/// Who wants a JPEG of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Somebody subscribes to `image`.
    pub(crate) by_readers: bool,
    pub(crate) by_onlooker: bool,
}

/// When a frame was last handed over for each of them.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    readers: Option<StampNs>,
    onlooker: Option<StampNs>,
}

/// A frame to be made a JPEG of, and the result that it belongs to.
struct Picture {
    message: Arc<wire::Packages>,
    image: BgrImage,
    wanted: Wanted,
}

impl Images {
    pub(crate) fn label_wanted(&self) -> bool {
        self.label_wanted.load(Ordering::Relaxed)
    }

    /// Who wants a picture now; `None` while nobody does, or too soon after the last one.
    pub(crate) fn wanted(&self, shown: &mut Shown, now: StampNs) -> Option<Wanted> {
        let is_due = |last: Option<StampNs>, period: Duration| {
            last.is_none_or(|last| u128::from(now.since_ns(last)) >= period.as_nanos())
        };
        let by_readers =
            is_due(shown.readers, self.period) && self.image_wanted.load(Ordering::Relaxed);
        let by_onlooker = self.onlooker.as_ref().is_some_and(|onlooker| {
            is_due(shown.onlooker, onlooker.period) && (onlooker.is_looking)()
        });
        if by_readers {
            shown.readers = Some(now);
        }
        if by_onlooker {
            shown.onlooker = Some(now);
        }
        (by_readers || by_onlooker).then_some(Wanted { by_readers, by_onlooker })
    }

    /// An older one that was not begun is given up for it.
    pub(crate) fn put_label(&self, message: Arc<wire::Packages>) {
        self.labels.put(message);
    }

    /// An older one that was not begun is given up for it.
    pub(crate) fn put_picture(
        &self,
        message: Arc<wire::Packages>,
        image: &BgrImage,
        wanted: Wanted,
    ) {
        self.pictures.put(Picture { message, image: self.copy(image), wanted });
    }

    fn copy(&self, image: &BgrImage) -> BgrImage {
        let size = |image: &BgrImage| (image.width_px(), image.height_px());
        match self.spare().take().filter(|spare| size(spare) == size(image)) {
            Some(mut copy) => {
                copy.data_mut().copy_from_slice(image.data());
                copy
            }
            None => image.clone(),
        }
    }

    fn spare(&self) -> MutexGuard<'_, Option<BgrImage>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn close(&self) {
        self.labels.close();
        self.pictures.close();
    }
}

pub(crate) fn start(
    session: &Session,
    shared: &Arc<Shared>,
    mut encoder: JpegEncoder,
    period: Duration,
    onlooker: Option<Onlooker>,
) -> Result<(Arc<Images>, [JoinHandle<()>; 2]), NetworkError> {
    let labels = declare(session, &shared.cell, "label_image", Priority::Data)?;
    let pictures = declare(session, &shared.cell, "image", Priority::Data)?;
    let images = Arc::new(Images {
        labels: Latest::new(),
        pictures: Latest::new(),
        label_wanted: watch_readers(&labels)?,
        image_wanted: watch_readers(&pictures)?,
        period,
        onlooker,
        spare: Mutex::new(None),
        made: ImagesMade::default(),
    });
    let (worker, mut pool) = (images.clone(), LabelPool::default());
    let label_thread = spawn("magpie-labels", move || {
        while let Some(message) = worker.labels.take() {
            let made = publish_label_image(&labels, &mut pool, &message);
            count("label_image", made, &worker.made.label_images);
        }
    })?;
    let worker = images.clone();
    let picture_thread = spawn("magpie-image", move || {
        while let Some(Picture { message, image, wanted }) = worker.pictures.take() {
            let jpeg = encoder(&image);
            *worker.spare() = Some(image);
            if let Some(onlooker) = worker.onlooker.as_ref().filter(|_| wanted.by_onlooker) {
                let why = jpeg.as_ref().err().map(|error| error.to_string()).unwrap_or_default();
                (onlooker.show)(&message, jpeg.as_deref().map_err(|_| &*why));
            }
            let published = match jpeg {
                Ok(jpeg) if wanted.by_readers => publish_picture(&pictures, jpeg, &message),
                made => made.map(drop),
            };
            count("image", published, &worker.made.images);
        }
    })?;
    Ok((images, [label_thread, picture_thread]))
}

/// Images are extras: one that could not be made is told, and the next one is tried.
fn count(what: &str, made: Result<(), BoxError>, counter: &AtomicU64) {
    match made {
        Ok(()) => {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => tracing::warn!(%error, "no {what} for this frame"),
    }
}

/// A flag that zenoh keeps up to date: whether anybody subscribes.
fn watch_readers(publisher: &pubsub::Publisher<'static>) -> Result<Arc<AtomicBool>, NetworkError> {
    let declared =
        |source| NetworkError::Declare { key: publisher.key_expr().as_str().into(), source };
    let wanted = Arc::new(AtomicBool::new(false));
    let flag = wanted.clone();
    let on_change = move |status: MatchingStatus| flag.store(status.matching(), Ordering::Relaxed);
    let listener = publisher.matching_listener().callback(on_change).background();
    listener.wait().map_err(declared)?;
    // Readers that were there before the listener.
    let matching = publisher.matching_status().wait().map_err(declared)?.matching();
    wanted.fetch_or(matching, Ordering::Relaxed);
    Ok(wanted)
}

fn publish_label_image(
    publisher: &pubsub::Publisher<'static>,
    pool: &mut LabelPool,
    message: &wire::Packages,
) -> Result<(), BoxError> {
    // As many as one byte tells apart, with 255 left to readers that mark pixels of their own.
    let bytes_per_px = if message.packages.len() > 254 { 2 } else { 1 };
    let pixels = message.image_width_px as usize * message.image_height_px as usize;
    let payload = pool.fill(pixels * bytes_per_px, |bytes| {
        wire::paint_labels(message, bytes_per_px, bytes);
    })?;
    let encoding = if bytes_per_px == 2 { "mono16" } else { "mono8" };
    publisher.put(payload).attachment(header(message, encoding)).wait()
}

fn publish_picture(
    publisher: &pubsub::Publisher<'static>,
    jpeg: Vec<u8>,
    message: &wire::Packages,
) -> Result<(), BoxError> {
    publisher.put(jpeg).attachment(header(message, "jpeg")).wait()
}

fn header(message: &wire::Packages, encoding: &str) -> Vec<u8> {
    let header = wire::ImageHeader {
        instance_id: message.instance_id.clone(),
        sequence: message.sequence,
        stamp_ns: message.stamp_ns,
        width_px: message.image_width_px,
        height_px: message.image_height_px,
        encoding: encoding.into(),
    };
    header.encode_to_vec()
}

/// Shared memory for label images, made when the first one is wanted.
#[derive(Default)]
struct LabelPool {
    provider: Option<(usize, ShmProvider<PosixShmProviderBackend>)>,
}

impl LabelPool {
    /// An image of `length` bytes, filled by `paint`. Never waits for readers to give memory back.
    fn fill(&mut self, length: usize, paint: impl FnOnce(&mut [u8])) -> Result<ZBytes, BoxError> {
        if self.provider.as_ref().is_none_or(|(size, _)| *size < length) {
            let backend =
                PosixShmProviderBackend::builder(length * LABEL_IMAGES_HELD_MAX).wait()?;
            self.provider = Some((length, ShmProviderBuilder::backend(backend).wait()));
        }
        let (_, provider) = self.provider.as_ref().expect("made above");
        let mut memory =
            provider.alloc(length).with_policy::<Defragment<GarbageCollect>>().wait()?;
        paint(&mut memory);
        Ok(memory.into())
    }
}
