//! The client for C: opaque handles, plain structs, results as numbers. `include/magpie.h` is made of
//! this crate's public items, so what stands here is what a C programmer reads.
//!
//! # Conventions
//!
//! Nothing here judges whether a result may be acted upon: that is the client's. No panic leaves a
//! function, and no pointer is used before it is compared with NULL.
#![allow(unsafe_code, reason = "pointers of C")]

mod call;
mod copy;

use std::ffi::c_char;
use std::path::PathBuf;
use std::time::Duration;

use magpie_client::wire::ReferenceFrame;
use magpie_client::{
    CellName, Client, ClientOptions, ConnectError, Freshness, PackagesSubscriber, PackagesView,
    PickReport, ReportError, SystemClock, ZenohConfig, find_cell, wire,
};

pub use call::MagpieResult;
use call::{Failure, answer, call, clear, free, get, handle, read, write};
use copy::{flat, put_text};

/// What the arm may do.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MagpieState {
    /// Act upon the view, until it expires.
    Fresh = 0,
    /// Wait: the daemon lives, but it has no result that may be acted upon.
    Stale = 1,
    /// Stop: the daemon left, is silent, reports a fault, or is not the only one.
    Lost = 2,
}

/// What poses are relative to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MagpieReferenceFrame {
    /// This library does not know it: it is of a newer daemon.
    Unknown = 0,
    /// The robot's base: alone here an arm can move by them.
    Base = 1,
    /// The camera's optical frame: x right, y down, z forward.
    Camera = 2,
    /// The gripper at the stamp, the camera being on the arm.
    Gripper = 3,
}

/// What became of a pick.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MagpieOutcome {
    /// It was lifted, carried and let go where it belongs.
    Held = 1,
    /// It was lifted, and fell on the way.
    Dropped = 2,
    /// More than this one package came up.
    Double = 3,
    /// The tool went there, and nothing came up.
    Missed = 4,
    /// It was chosen, but the tool did not go there.
    NotTried = 5,
}

/// One cell, over one connection.
pub struct MagpieClient {
    client: Client,
}

/// Follows the results of a cell.
pub struct MagpiePackages {
    subscriber: PackagesSubscriber,
}

/// One result, while it lives.
pub struct MagpieView {
    view: PackagesView,
}

/// How far a client trusts silence and clocks.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MagpieLimits {
    /// Longer silence of the heartbeat is lost.
    pub heartbeat_silence_ms_max: u32,
    /// A publisher whose clock is further ahead is not believed.
    pub clock_ahead_ms_max: u32,
    /// A result that claims to be valid for longer is refused.
    pub result_valid_ms_max: u32,
}

/// How things stand.
#[repr(C)]
pub struct MagpieNews {
    pub state: MagpieState,
    /// Where fresh: the result, which is yours to free. NULL otherwise.
    pub view: *mut MagpieView,
    /// Where stale or lost: for programs to decide by, for example `expired`, `silent`, `rival`.
    pub code: [c_char; 32],
    /// Where stale or lost: one sentence for people.
    pub why: [c_char; 512],
}

/// What stands on top of a result. It may be read whatever its age.
#[repr(C)]
pub struct MagpieViewInfo {
    /// The number of the camera's frame.
    pub sequence: u64,
    /// When the frame was exposed.
    pub stamp_ns: u64,
    /// For how long the result may still be acted upon; 0 once it has expired.
    pub expires_in_ns: u64,
    pub package_count: u32,
    pub image_width_px: u32,
    pub image_height_px: u32,
    pub reference_frame: MagpieReferenceFrame,
    /// The name of the reference frame of all poses.
    pub frame_id: [c_char; 64],
    /// Whether the publisher is another one than before: forget all track ids. Told once.
    pub restarted: bool,
    /// Whether the daemon runs, but not as configured: its status says why.
    pub degraded: bool,
}

/// One package.
#[repr(C)]
pub struct MagpiePackage {
    /// Stays with the package from frame to frame while the daemon runs.
    pub track_id: u64,
    /// Its class, for example `box` or `poly_bag`.
    pub kind: [c_char; 64],
    /// How sure the model is, 0 to 1.
    pub score: f32,
    /// 0 is to be picked first.
    pub pick_rank: u32,
    /// The box around it in pixels: x_min, y_min, x_max, y_max, its outer edges.
    pub bbox_px: [f32; 4],
    /// How much of its rim another package hides, 0 to 1.
    pub occluded_share: f32,
    /// Best first.
    pub grasp_count: u32,
    /// Without a grasp: why, for example `no_seal`.
    pub refusal: [c_char; 32],
    /// The height of the contact above the support plane; not a number where it is not known.
    pub height_m: f64,
    /// Length, width and height; not numbers where they were not measured.
    pub size_m: [f64; 3],
}

/// Where and how a suction tool can hold a package.
#[repr(C)]
pub struct MagpieGrasp {
    /// The tool's reference frame in the one that `reference_frame` names. An arm moves by
    /// magpie_base_from_grasp() or magpie_pose_in_base(), which look at that first.
    pub reference_from_grasp: [f64; 16],
    pub reference_frame: MagpieReferenceFrame,
    /// The contact point in the camera's picture.
    pub contact_px: [f32; 2],
    /// 0 to 1.
    pub quality: f32,
    /// Which suction cups of the tool to switch on, by index.
    pub cups: [u32; 32],
    pub cup_count: u32,
    /// Standard deviation along the approach, the calibration's error left out; 0 where it is not
    /// known.
    pub position_sigma_m: f64,
}

/// The newest heartbeat of a daemon.
#[repr(C)]
pub struct MagpieStatus {
    /// `starting`, `ok`, `degraded`, `fault` or `unspecified`.
    pub state: [c_char; 32],
    pub uptime_ns: u64,
    /// Why the state is not ok: codes, separated by spaces.
    pub reason_codes: [c_char; 512],
    /// The same as sentences for people.
    pub reasons: [c_char; 1024],
}

/// A camera's calibration, with the matrices of ROS's camera_info.
#[repr(C)]
pub struct MagpieCameraInfo {
    pub width_px: u32,
    pub height_px: u32,
    /// `plumb_bob`, `rational_polynomial` or `equidistant`.
    pub distortion_model: [c_char; 32],
    pub d: [f64; 16],
    pub d_count: u32,
    /// The camera matrix in pixels, row by row.
    pub k: [f64; 9],
    pub frame_id: [c_char; 64],
}

/// What is said of a pick.
#[repr(C)]
pub struct MagpieReport {
    /// A value of MagpieOutcome.
    pub outcome: u32,
    /// When it was over; 0: now.
    pub done_ns: u64,
    /// How far the pressure in the cups fell below the air's, in pascals; not a number where it was
    /// not measured.
    pub vacuum_pa: f64,
    /// What hung on the tool, in kilograms; not a number where it was not weighed.
    pub weight_kg: f64,
    /// What a later station read it to be, in the words of the model's types; NULL: not read.
    pub kind: *const c_char,
    /// Who reports, for people; may be NULL.
    pub reporter: *const c_char,
}

/// Joins a cell. By its name alone it is found on this machine; `endpoint` names one of another
/// machine (`tcp/192.168.1.7:17447`), and `zenoh_file` a file of zenoh's with certificates. Both may
/// be NULL, and one of them has to be. Blocks for some seconds at most. `*client` is yours, to free by
/// magpie_client_free(); it is NULL unless the result is MAGPIE_RESULT_OK.
///
/// # Safety
/// Texts end with a zero.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_connect(
    cell: *const c_char,
    endpoint: *const c_char,
    zenoh_file: *const c_char,
    client: *mut *mut MagpieClient,
) -> MagpieResult {
    let usual = magpie_limits();
    // SAFETY: as the caller promises.
    unsafe { magpie_connect_within(cell, endpoint, zenoh_file, &raw const usual, client) }
}

/// The limits of magpie_connect(): 500 ms of silence, a clock that is 5 ms ahead, results that are valid
/// for 5000 ms. For those that you know better to be written over.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn magpie_limits() -> MagpieLimits {
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    MagpieLimits {
        heartbeat_silence_ms_max: ms(ClientOptions::HEARTBEAT_SILENCE_MAX),
        clock_ahead_ms_max: ms(ClientOptions::CLOCK_AHEAD_MAX),
        result_valid_ms_max: ms(wire::freshness::RESULT_VALID_MAX),
    }
}

/// Does what magpie_connect() does, within limits of your own.
///
/// # Safety
/// Texts end with a zero.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_connect_within(
    cell: *const c_char,
    endpoint: *const c_char,
    zenoh_file: *const c_char,
    limits: *const MagpieLimits,
    client: *mut *mut MagpieClient,
) -> MagpieResult {
    let connect = || {
        // SAFETY: the caller hands over texts that end.
        let (cell, endpoint, zenoh_file, limits) =
            unsafe { (read(cell)?, read(endpoint)?, read(zenoh_file)?, get(limits, "limits")?) };
        let cell = cell.ok_or_else(|| Failure::invalid("cell is NULL"))?;
        let zenoh = match (endpoint, zenoh_file) {
            (None, None) => None,
            (Some(endpoint), None) => Some(ZenohConfig::Connect(vec![endpoint.into()])),
            (None, Some(path)) => Some(ZenohConfig::File(PathBuf::from(path))),
            (Some(_), Some(_)) => {
                return Err(Failure::invalid("name an endpoint or a zenoh_file, not both"));
            }
        };
        let client = join(cell, zenoh, limits).map_err(|error| match &error {
            ConnectError::Name(name) => Failure::invalid(&name.to_string()),
            other => Failure::of(MagpieResult::NotConnected, other),
        })?;
        Ok(handle(MagpieClient { client }))
    };
    // SAFETY: as the caller promises.
    unsafe { answer(client, std::ptr::null_mut(), connect) }
}

fn join(
    cell: &str,
    zenoh: Option<ZenohConfig>,
    limits: &MagpieLimits,
) -> Result<Client, ConnectError> {
    let cell = CellName::new(cell)?;
    let zenoh = zenoh.map_or_else(|| find_cell(&cell), Ok)?;
    let time = |ms: u32| Duration::from_millis(ms.into());
    Ok(Client::open(ClientOptions {
        heartbeat_silence_max: time(limits.heartbeat_silence_ms_max),
        clock_ahead_max: time(limits.clock_ahead_ms_max),
        result_valid_max: time(limits.result_valid_ms_max),
        ..ClientOptions::new(cell, zenoh, SystemClock::start())
    })?)
}

/// Leaves the cell, once what was made of the client is freed, too. NULL is ignored.
///
/// # Safety
/// The client is freed once, while no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn magpie_client_free(client: *mut MagpieClient) {
    // SAFETY: as the caller promises.
    unsafe { free(client) };
}

/// Follows the results. `*packages` is yours, to free by magpie_packages_free(), also after the client
/// was freed. Waits until the publisher is known: half a second on a client that was just made, a
/// second where there is none.
///
/// # Safety
/// The client is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_packages(
    client: *const MagpieClient,
    packages: *mut *mut MagpiePackages,
) -> MagpieResult {
    let follow = || {
        // SAFETY: as the caller promises.
        let subscriber = unsafe { get(client, "client")? }.client.packages();
        let subscriber =
            subscriber.map_err(|error| Failure::of(MagpieResult::NotConnected, &error))?;
        Ok(handle(MagpiePackages { subscriber }))
    };
    // SAFETY: as the caller promises.
    unsafe { answer(packages, std::ptr::null_mut(), follow) }
}

/// NULL is ignored.
///
/// # Safety
/// The packages are freed once, while no other call uses them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn magpie_packages_free(packages: *mut MagpiePackages) {
    // SAFETY: as the caller promises.
    unsafe { free(packages) };
}

/// Waits for a result that was not handed out before, at most for `timeout_ms`, then says how things
/// stand. `news->view` is yours, to free by magpie_view_free(). Threads wait side by side, and one of
/// them gets each result. Unless the result is MAGPIE_RESULT_OK, `news` says lost, with a NULL view.
///
/// # Safety
/// The packages are not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_next(
    packages: *const MagpiePackages,
    timeout_ms: u32,
    news: *mut MagpieNews,
) -> MagpieResult {
    let nothing = || MagpieNews {
        state: MagpieState::Lost,
        view: std::ptr::null_mut(),
        code: [0; 32],
        why: [0; 512],
    };
    let wait = || {
        // SAFETY: as the caller promises.
        let packages = unsafe { get(packages, "packages")? };
        let freshness = packages.subscriber.next(Duration::from_millis(timeout_ms.into()));
        let mut told = nothing();
        match freshness {
            Freshness::Fresh(view) => {
                told.state = MagpieState::Fresh;
                told.view = handle(MagpieView { view });
            }
            Freshness::Stale(why) => {
                told.state = MagpieState::Stale;
                put_text(&mut told.code, why.code());
                put_text(&mut told.why, &why.to_string());
            }
            Freshness::Lost { why, .. } => {
                put_text(&mut told.code, why.code());
                put_text(&mut told.why, &why.to_string());
            }
        }
        Ok(told)
    };
    // SAFETY: as the caller promises.
    unsafe { answer(news, nothing(), wait) }
}

/// Asks for the first result whose exposure begins after this question, and waits for it; the daemon
/// waits ten seconds at most. `*view` is yours, to free by magpie_view_free(), and NULL unless the
/// result is MAGPIE_RESULT_OK.
///
/// # Safety
/// The client is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_capture(
    client: *const MagpieClient,
    timeout_ms: u32,
    view: *mut *mut MagpieView,
) -> MagpieResult {
    let ask = || {
        // SAFETY: as the caller promises.
        let client = unsafe { get(client, "client")? };
        let captured = client.client.capture(Duration::from_millis(timeout_ms.into()));
        let captured = captured.map_err(|error| Failure::of(MagpieResult::NotAnswered, &error))?;
        Ok(handle(MagpieView { view: captured }))
    };
    // SAFETY: as the caller promises.
    unsafe { answer(view, std::ptr::null_mut(), ask) }
}

/// Asks for the camera's calibration.
///
/// # Safety
/// The client is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_camera_info(
    client: *const MagpieClient,
    timeout_ms: u32,
    info: *mut MagpieCameraInfo,
) -> MagpieResult {
    let nothing = || MagpieCameraInfo {
        width_px: 0,
        height_px: 0,
        distortion_model: [0; 32],
        d: [0.0; 16],
        d_count: 0,
        k: [f64::NAN; 9],
        frame_id: [0; 64],
    };
    let ask = || {
        // SAFETY: as the caller promises.
        let client = unsafe { get(client, "client")? };
        let told = client.client.camera_info(Duration::from_millis(timeout_ms.into()));
        let told = told.map_err(|error| Failure::of(MagpieResult::NotAnswered, &error))?;
        let mut copy =
            MagpieCameraInfo { width_px: told.width, height_px: told.height, ..nothing() };
        put_text(&mut copy.distortion_model, &told.distortion_model);
        put_text(&mut copy.frame_id, &told.frame_id);
        copy.d_count = copy::values(&mut copy.d, &told.d);
        copy::values(&mut copy.k, &told.k);
        Ok(copy)
    };
    // SAFETY: as the caller promises.
    unsafe { answer(info, nothing(), ask) }
}

/// The newest heartbeat. MAGPIE_RESULT_NOT_ANSWERED if nobody speaks for the cell.
///
/// # Safety
/// The client is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_status(
    client: *const MagpieClient,
    status: *mut MagpieStatus,
) -> MagpieResult {
    let nothing = || MagpieStatus {
        state: [0; 32],
        uptime_ns: 0,
        reason_codes: [0; 512],
        reasons: [0; 1024],
    };
    let ask = || {
        // SAFETY: as the caller promises.
        let client = unsafe { get(client, "client")? };
        let told = client.client.status();
        let told = told.map_err(|lost| Failure::of(MagpieResult::NotAnswered, &lost))?;
        let mut copy = MagpieStatus { uptime_ns: told.uptime_ns, ..nothing() };
        let reasons = told.coded_reasons();
        let joined = |part: fn(&wire::ReasonMessage) -> &str, by: &str| {
            reasons.iter().map(part).collect::<Vec<_>>().join(by)
        };
        put_text(&mut copy.state, &wire::plain(told.state().as_str_name(), "STATE_"));
        put_text(&mut copy.reason_codes, &joined(|reason| &reason.code, " "));
        put_text(&mut copy.reasons, &joined(|reason| &reason.text, "; "));
        Ok(copy)
    };
    // SAFETY: as the caller promises.
    unsafe { answer(status, nothing(), ask) }
}

/// NULL is ignored.
///
/// # Safety
/// The view is freed once, while no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn magpie_view_free(view: *mut MagpieView) {
    // SAFETY: as the caller promises.
    unsafe { free(view) };
}

/// What stands on top of a result, whatever its age.
///
/// # Safety
/// The view is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_view_info(
    view: *const MagpieView,
    info: *mut MagpieViewInfo,
) -> MagpieResult {
    let nothing = MagpieViewInfo {
        sequence: 0,
        stamp_ns: 0,
        expires_in_ns: 0,
        package_count: 0,
        image_width_px: 0,
        image_height_px: 0,
        reference_frame: MagpieReferenceFrame::Unknown,
        frame_id: [0; 64],
        restarted: false,
        degraded: false,
    };
    let look = || {
        // SAFETY: as the caller promises.
        let view = &unsafe { get(view, "view")? }.view;
        let message = view.for_display();
        let mut copy = MagpieViewInfo {
            sequence: message.sequence,
            stamp_ns: message.stamp_ns,
            expires_in_ns: u64::try_from(view.expires_in().as_nanos()).unwrap_or(u64::MAX),
            package_count: copy::count(message.packages.len()),
            image_width_px: message.image_width_px,
            image_height_px: message.image_height_px,
            reference_frame: reference_frame(message),
            frame_id: [0; 64],
            restarted: view.restarted(),
            degraded: !view.degraded().is_empty(),
        };
        put_text(&mut copy.frame_id, &message.frame_id);
        Ok(copy)
    };
    // SAFETY: as the caller promises.
    unsafe { answer(info, nothing, look) }
}

/// The first grasp of the first package in pick order that has one. MAGPIE_RESULT_NONE if nothing can
/// be held, MAGPIE_RESULT_EXPIRED once the time of the result is over; then the indices are those of
/// nothing.
///
/// # Safety
/// The view is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_best_grasp(
    view: *const MagpieView,
    package_index: *mut u32,
    grasp_index: *mut u32,
) -> MagpieResult {
    let look = || {
        // SAFETY: as the caller promises.
        let packages = unsafe { get(view, "view")? }.view.packages()?;
        let best = packages.iter().position(|package| !package.grasps.is_empty());
        let best = best.ok_or_else(|| Failure::none("no package can be held"))?;
        // SAFETY: as the caller promises.
        unsafe { write(grasp_index, 0)? };
        Ok(copy::count(best))
    };
    // SAFETY: as the caller promises.
    unsafe {
        clear(grasp_index, u32::MAX);
        answer(package_index, u32::MAX, look)
    }
}

/// One package, in pick order. MAGPIE_RESULT_EXPIRED once the time of the result is over.
///
/// # Safety
/// The view is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_package(
    view: *const MagpieView,
    package_index: u32,
    package: *mut MagpiePackage,
) -> MagpieResult {
    let nothing = MagpiePackage {
        track_id: 0,
        kind: [0; 64],
        score: f32::NAN,
        pick_rank: u32::MAX,
        bbox_px: [f32::NAN; 4],
        occluded_share: f32::NAN,
        grasp_count: 0,
        refusal: [0; 32],
        height_m: f64::NAN,
        size_m: [f64::NAN; 3],
    };
    let look = || {
        // SAFETY: as the caller promises.
        let found = package_of(unsafe { get(view, "view")? }, package_index)?;
        let bbox = found.bbox.unwrap_or_default();
        let size = found.size.as_ref();
        let size = size.map(|size| [size.length_m, size.width_m, size.height_m]);
        let mut copy = MagpiePackage {
            track_id: found.track_id,
            kind: [0; 64],
            score: found.score,
            pick_rank: found.pick_rank,
            bbox_px: [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px],
            occluded_share: found.occluded_share,
            grasp_count: copy::count(found.grasps.len()),
            refusal: [0; 32],
            height_m: found.height_m.unwrap_or(f64::NAN),
            size_m: size.unwrap_or([f64::NAN; 3]),
        };
        put_text(&mut copy.kind, &found.r#type);
        if found.grasps.is_empty() {
            let refusal = wire::plain(found.refusal().as_str_name(), "GRASP_REFUSAL_");
            put_text(&mut copy.refusal, &refusal);
        }
        Ok(copy)
    };
    // SAFETY: as the caller promises.
    unsafe { answer(package, nothing, look) }
}

/// What is visible of a package: one byte for each pixel of the picture, row by row, 1 on the package
/// and 0 elsewhere. `pixels` is yours, and has `length` bytes: image_width_px * image_height_px.
/// MAGPIE_RESULT_EXPIRED once the time of the result is over.
///
/// # Safety
/// `pixels` has `length` bytes, and the view is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_mask(
    view: *const MagpieView,
    package_index: u32,
    pixels: *mut u8,
    length: usize,
) -> MagpieResult {
    if !pixels.is_null() {
        // SAFETY: the caller promises so many bytes.
        unsafe { pixels.write_bytes(0, length) };
    }
    call(|| {
        // SAFETY: as the caller promises.
        let package = package_of(unsafe { get(view, "view")? }, package_index)?;
        let mask = package.mask.as_ref().ok_or_else(|| Failure::broken("no mask"))?;
        let needed = mask.width_px as usize * mask.height_px as usize;
        if pixels.is_null() {
            return Err(Failure::invalid("pixels is NULL"));
        }
        if length != needed {
            return Err(Failure::invalid(&format!(
                "pixels is {length} bytes long; the picture has {needed} pixels"
            )));
        }
        // SAFETY: the caller promises so many bytes.
        let pixels = unsafe { std::slice::from_raw_parts_mut(pixels, length) };
        mask.write_bitmap(pixels).map_err(|error| Failure::broken(&error.to_string()))
    })
}

/// One grasp of a package, best first. MAGPIE_RESULT_EXPIRED once the time of the result is over.
///
/// # Safety
/// The view is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_grasp(
    view: *const MagpieView,
    package_index: u32,
    grasp_index: u32,
    grasp: *mut MagpieGrasp,
) -> MagpieResult {
    let nothing = MagpieGrasp {
        reference_from_grasp: NO_POSE,
        reference_frame: MagpieReferenceFrame::Unknown,
        contact_px: [f32::NAN; 2],
        quality: f32::NAN,
        cups: [0; 32],
        cup_count: 0,
        position_sigma_m: f64::NAN,
    };
    let look = || {
        // SAFETY: as the caller promises.
        let view = unsafe { get(view, "view")? };
        let found = grasp_of(view, package_index, grasp_index)?;
        let contact = found.contact_px.unwrap_or_default();
        let mut copy = MagpieGrasp {
            reference_from_grasp: matrix(found.pose.as_ref())?,
            reference_frame: reference_frame(view.view.for_display()),
            contact_px: [contact.x_px, contact.y_px],
            quality: found.quality,
            cups: [0; 32],
            cup_count: 0,
            position_sigma_m: found.position_sigma_m,
        };
        copy.cup_count = copy::values(&mut copy.cups, &found.cups);
        Ok(copy)
    };
    // SAFETY: as the caller promises.
    unsafe { answer(grasp, nothing, look) }
}

/// Where the tool holds the package, in the robot's base. MAGPIE_RESULT_WRONG_FRAME if the poses of
/// this cell are not in base, MAGPIE_RESULT_EXPIRED once the time of the result is over.
///
/// # Safety
/// `base_from_grasp` has 16 numbers, and the view is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_base_from_grasp(
    view: *const MagpieView,
    package_index: u32,
    grasp_index: u32,
    base_from_grasp: *mut f64,
) -> MagpieResult {
    let look = || {
        // SAFETY: as the caller promises.
        let view = unsafe { get(view, "view")? };
        let found = grasp_of(view, package_index, grasp_index)?;
        Ok(flat(&view.view.base_from_grasp(found)?))
    };
    // SAFETY: as the caller promises.
    unsafe { answer(base_from_grasp.cast(), NO_POSE, look) }
}

/// The same of a camera on the arm. Takes where the gripper was in base at the stamp.
/// MAGPIE_RESULT_WRONG_FRAME if the poses of this cell are not in the gripper,
/// MAGPIE_RESULT_INVALID if base_from_gripper is no pose, MAGPIE_RESULT_EXPIRED once the time of the
/// result is over.
///
/// # Safety
/// Both poses have 16 numbers, and the view is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_pose_in_base(
    view: *const MagpieView,
    package_index: u32,
    grasp_index: u32,
    base_from_gripper: *const f64,
    base_from_grasp: *mut f64,
) -> MagpieResult {
    // Both may be in the same place.
    // SAFETY: as the caller promises.
    let given = unsafe { base_from_gripper.cast::<[f64; 16]>().as_ref() }.copied();
    let look = || {
        let given = given.ok_or_else(|| Failure::invalid("base_from_gripper is NULL"))?;
        // SAFETY: as the caller promises.
        let view = unsafe { get(view, "view")? };
        let rows: [[f64; 4]; 4] =
            std::array::from_fn(|row| std::array::from_fn(|column| given[4 * row + column]));
        let given = wire::Pose::from_matrix(&rows);
        let given = given.map_err(|error| Failure::invalid(&error.to_string()))?;
        let given = given.isometry().ok_or_else(|| Failure::broken("a pose is not whole"))?;
        let found = grasp_of(view, package_index, grasp_index)?;
        matrix(Some(&view.view.pose_in_base(found, &given)?))
    };
    // SAFETY: as the caller promises.
    unsafe { answer(base_from_grasp.cast(), NO_POSE, look) }
}

/// Where the grasp will be at a time, since its package moves on with the belt, and how sure that is
/// along each axis. The pose is in the reference frame of the result: compare `reference_frame` of
/// MagpieViewInfo before an arm moves by it. MAGPIE_RESULT_NONE while nobody knows how the packages
/// move, MAGPIE_RESULT_INVALID further than a minute from the exposure, MAGPIE_RESULT_EXPIRED once the
/// time of the result is over. Numbers that are kept do not expire: ask right before each motion.
///
/// # Safety
/// `reference_from_grasp` has 16 numbers, and the view is not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_pose_at(
    view: *const MagpieView,
    package_index: u32,
    grasp_index: u32,
    stamp_ns: u64,
    reference_from_grasp: *mut f64,
    position_sigma_m: *mut f64,
) -> MagpieResult {
    let look = || {
        // SAFETY: as the caller promises.
        let view = unsafe { get(view, "view")? };
        let found = grasp_of(view, package_index, grasp_index)?;
        let later = view.view.pose_at(found, view.view.at_unix_ns(stamp_ns))?;
        let later = later.ok_or_else(|| Failure::none("how the packages move is not known"))?;
        let pose = matrix(Some(&later.pose))?;
        // SAFETY: as the caller promises.
        unsafe { write(position_sigma_m, later.position_sigma_m)? };
        Ok(pose)
    };
    // SAFETY: as the caller promises.
    unsafe {
        clear(position_sigma_m, f64::NAN);
        answer(reference_from_grasp.cast(), NO_POSE, look)
    }
}

/// A report that says nothing but the outcome: for the fields that you know to be written over.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn magpie_report(outcome: u32) -> MagpieReport {
    MagpieReport {
        outcome,
        done_ns: 0,
        vacuum_pa: f64::NAN,
        weight_kg: f64::NAN,
        kind: std::ptr::null(),
        reporter: std::ptr::null(),
    }
}

/// Tells the cell what became of a grasp of this view, whatever the view's age: keep it until you know.
/// The daemon counts and records it; nothing that it does with pictures changes. A later report about
/// the same package of the same view replaces an earlier one as a whole. Returns once the report is
/// handed over to the network; nobody answers. MAGPIE_RESULT_INVALID if the daemon would refuse it,
/// MAGPIE_RESULT_NOT_CONNECTED if the network does not take it.
///
/// # Safety
/// Texts end with a zero, and client and view are not freed meanwhile.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn magpie_report_outcome(
    client: *const MagpieClient,
    view: *const MagpieView,
    package_index: u32,
    grasp_index: u32,
    report: *const MagpieReport,
) -> MagpieResult {
    call(|| {
        // SAFETY: as the caller promises.
        let (client, view, report) =
            unsafe { (get(client, "client")?, get(view, "view")?, report.as_ref()) };
        let report = report.ok_or_else(|| Failure::invalid("report is NULL"))?;
        // SAFETY: as the caller promises.
        let (kind, reporter) = unsafe { (read(report.kind)?, read(report.reporter)?) };
        let pick = view.view.pick_at(package_index as usize, grasp_index as usize);
        let pick = pick.ok_or_else(|| {
            Failure::invalid(&format!(
                "the view has no package {package_index} with a grasp {grasp_index}"
            ))
        })?;
        let outcome = i32::try_from(report.outcome).ok();
        let outcome = outcome.and_then(|outcome| wire::Outcome::try_from(outcome).ok());
        let outcome = outcome.ok_or_else(|| {
            Failure::invalid(&format!("outcome {} is no value of MagpieOutcome", report.outcome))
        })?;
        let known = |value: f64| (!value.is_nan()).then_some(value);
        let told = PickReport {
            outcome,
            done_ns: (report.done_ns != 0).then_some(report.done_ns),
            vacuum_pa: known(report.vacuum_pa),
            weight_kg: known(report.weight_kg),
            package_type: kind.unwrap_or_default().to_owned(),
            reporter: reporter.unwrap_or_default().to_owned(),
        };
        client.client.report_outcome(&pick, &told).map_err(|error| match &error {
            ReportError::Refused(_) | ReportError::OtherCell { .. } => {
                Failure::of(MagpieResult::Invalid, &error)
            }
            ReportError::Closed | ReportError::Send { .. } => {
                Failure::of(MagpieResult::NotConnected, &error)
            }
        })
    })
}

/// Why a call of this thread failed: the last one that did not end with MAGPIE_RESULT_OK. Never NULL. The
/// text belongs to the library, and holds until the next call of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn magpie_last_error() -> *const c_char {
    call::last_error()
}

/// No arm takes it for a pose.
const NO_POSE: [f64; 16] = [f64::NAN; 16];

fn package_of(view: &MagpieView, index: u32) -> Result<&wire::Package, Failure> {
    let packages = view.view.packages()?;
    let missing = || Failure::invalid(&format!("package {index} of {}", packages.len()));
    packages.get(index as usize).ok_or_else(missing)
}

fn grasp_of(view: &MagpieView, package: u32, index: u32) -> Result<&wire::Grasp, Failure> {
    let grasps = &package_of(view, package)?.grasps;
    let missing = || Failure::invalid(&format!("grasp {index} of {}", grasps.len()));
    grasps.get(index as usize).ok_or_else(missing)
}

fn matrix(pose: Option<&wire::Pose>) -> Result<[f64; 16], Failure> {
    let rows = pose.and_then(wire::Pose::matrix);
    Ok(flat(&rows.ok_or_else(|| Failure::broken("a pose is not whole"))?))
}

fn reference_frame(message: &wire::Packages) -> MagpieReferenceFrame {
    match message.reference_frame() {
        ReferenceFrame::Unspecified => MagpieReferenceFrame::Unknown,
        ReferenceFrame::Base => MagpieReferenceFrame::Base,
        ReferenceFrame::Camera => MagpieReferenceFrame::Camera,
        ReferenceFrame::Gripper => MagpieReferenceFrame::Gripper,
    }
}
