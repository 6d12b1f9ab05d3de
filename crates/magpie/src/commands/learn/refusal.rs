//! Why a pick taught nothing.

/// Each reason is counted in the report under its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the result that was acted upon is not in the recordings")]
    NoResult,
    #[error("its outcome names another stamp than the result: it is of another instance")]
    OtherStamp,
    #[error("the result that was acted upon has no such track")]
    NoTrack,
    #[error("its track has no such grasp in the result that was acted upon")]
    NoGrasp,
    #[error("its outline in the result is empty or damaged")]
    NoOutline,
    #[error("the camera moves with the arm: two pictures do not show the same place")]
    CameraMoves,
    #[error("the packages move, as on a belt: two pictures do not show the same place")]
    BeltMoves,
    #[error("it was over before its picture was exposed: set the reporter's clock")]
    OverBefore,
    #[error("no result without it follows in time: the recording ends, or the model still sees it")]
    NoneAfter,
    #[error("its picture, or every picture after it, is missing in the recordings")]
    NoPictures,
    #[error("the pictures before and after it differ in size")]
    Sizes,
    #[error("its outline fills the picture: nothing around it tells noise from change")]
    NoSurroundings,
    #[error("what is around it changed as well: camera, light or goods moved")]
    SceneMoved,
    #[error("something came to where it was: the arm, or another package")]
    SomethingCame,
    #[error("nothing is gone at the contact point")]
    NothingGone,
    #[error("what is gone does not touch its outline")]
    BesideTheOutline,
    #[error("less than a tenth of its outline is gone")]
    TooSmall,
    #[error("much more than its outline is gone: several packages moved")]
    TooLarge,
    #[error("a package beside it is gone as well")]
    NeighbourGone,
    #[error("most of what changed belongs to packages beside it that moved")]
    NeighboursMoved,
}
