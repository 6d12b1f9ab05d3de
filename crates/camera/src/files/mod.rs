//! Files as frame sources: every frame is wanted, so whoever asks for the next one reads it.

pub(crate) mod image_folder;
mod pacer;
pub(crate) mod player;
pub(crate) mod video_file;
