//! What stands between C and Rust: pointers, panics, the text of the last failure.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use magpie_client::{Expired, NoPose, is_fork, wire};

/// How a call ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MagpieResult {
    Ok = 0,
    /// There is nothing of that kind: no grasp, no known motion.
    None = 1,
    /// The time of the result was over when it was asked for: take a newer one.
    Expired = 2,
    /// The pose is in another reference frame than the one that was asked for.
    WrongFrame = 3,
    /// An argument is NULL, out of range, or not what its name says.
    Invalid = 4,
    /// The cell was not found, or does not let us in; or this process is a fork of one that connected.
    NotConnected = 5,
    /// A question was not answered, or its answer must not be believed.
    NotAnswered = 6,
    /// A mistake of this library: please report it.
    Broken = 7,
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Why a call did not succeed.
pub(crate) struct Failure {
    result: MagpieResult,
    text: String,
}

impl Failure {
    pub(crate) fn new(result: MagpieResult, text: &str) -> Failure {
        Failure { result, text: text.to_owned() }
    }

    pub(crate) fn invalid(text: &str) -> Failure {
        Failure::new(MagpieResult::Invalid, text)
    }

    pub(crate) fn none(text: &str) -> Failure {
        Failure::new(MagpieResult::None, text)
    }

    pub(crate) fn broken(text: &str) -> Failure {
        Failure::new(MagpieResult::Broken, &format!("{text}; please report this"))
    }

    /// An error and its causes, on one line.
    pub(crate) fn of(result: MagpieResult, error: &dyn std::error::Error) -> Failure {
        Failure { result, text: wire::chain(error) }
    }
}

impl From<Expired> for Failure {
    fn from(error: Expired) -> Failure {
        Failure::of(MagpieResult::Expired, &error)
    }
}

impl From<NoPose> for Failure {
    fn from(error: NoPose) -> Failure {
        let result = match &error {
            NoPose::Expired(_) => MagpieResult::Expired,
            NoPose::WrongFrame(_) => MagpieResult::WrongFrame,
            NoPose::Moment { .. } | NoPose::NotFinite => MagpieResult::Invalid,
        };
        Failure::of(result, &error)
    }
}

/// Makes a call from C: its failure becomes a number and a text, and so does a panic.
pub(crate) fn call(work: impl FnOnce() -> Result<(), Failure>) -> MagpieResult {
    // A thread that is not there may have locked what a fork has of the client.
    let work = || if is_fork() { Err(forked()) } else { work() };
    let ended = catch_unwind(AssertUnwindSafe(work));
    let failure = match ended {
        Ok(Ok(())) => return MagpieResult::Ok,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::broken(said(panic.as_ref())),
    };
    // A text with a zero in it ends there.
    let text = failure.text.split('\0').next().unwrap_or_default();
    let text = CString::new(text).unwrap_or_default();
    // A thread that is ending has no place for it any more.
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
    failure.result
}

fn forked() -> Failure {
    let text = magpie_client::NetworkError::Forked.to_string();
    Failure { result: MagpieResult::NotConnected, text }
}

/// [`call`], with an answer. Unless there is one, the place for it says nothing: what an earlier call
/// has left there is gone, too.
///
/// # Safety
/// The place is NULL, or one for such a value.
pub(crate) unsafe fn answer<T>(
    place: *mut T,
    nothing: T,
    work: impl FnOnce() -> Result<T, Failure>,
) -> MagpieResult {
    // SAFETY: as the caller promises.
    unsafe { clear(place, nothing) };
    call(|| {
        if place.is_null() {
            return Err(Failure::invalid("the place for the answer is NULL"));
        }
        let value = work()?;
        // SAFETY: as the caller promises. What was there is overwritten, not dropped.
        unsafe { place.write(value) };
        Ok(())
    })
}

/// Leaves nothing in a place for an answer.
///
/// # Safety
/// It is NULL, or a place for such a value.
pub(crate) unsafe fn clear<T>(place: *mut T, nothing: T) {
    if !place.is_null() {
        // SAFETY: as the caller promises.
        unsafe { place.write(nothing) };
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}

pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// # Safety
/// It is NULL, or points to what this library made and nobody freed.
pub(crate) unsafe fn get<'a, T: Sync>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::invalid(&format!("{name} is NULL")))
}

/// # Safety
/// It is NULL, or points to a place for such a value.
pub(crate) unsafe fn write<T>(place: *mut T, value: T) -> Result<(), Failure> {
    if place.is_null() {
        return Err(Failure::invalid("the place for the answer is NULL"));
    }
    // SAFETY: as the caller promises. What was there is overwritten, not dropped.
    unsafe { place.write(value) };
    Ok(())
}

/// What C holds may be used by several threads at once.
pub(crate) fn handle<T: Send + Sync>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Takes a value back from C.
///
/// # Safety
/// It is NULL, or was given and not yet freed.
pub(crate) unsafe fn free<T: Send>(handle: *mut T) {
    // What a fork has of the client is left alone: its threads are not there to end.
    if handle.is_null() || is_fork() {
        return;
    }
    // SAFETY: as the caller promises.
    let owned = unsafe { Box::from_raw(handle) };
    // Nothing can be said here: freeing always succeeds for the caller.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(owned)));
}

/// # Safety
/// It is NULL, or a text that ends with a zero.
pub(crate) unsafe fn read<'a>(text: *const c_char) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| Failure::invalid("a text is not UTF-8"))
}
