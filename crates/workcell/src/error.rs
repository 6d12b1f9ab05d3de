use std::path::PathBuf;

/// Why a simulation could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum WorkcellError {
    #[error("parse the recipe; its keys are those of the shipped recipe")]
    Recipe {
        #[source]
        source: toml::de::Error,
    },
    #[error("recipe key {key} = {value}; it must lie between {min} and {max}")]
    Range { key: &'static str, value: f32, min: f32, max: f32 },
    #[error("recipe table [{key}] must hold numbers of at least 0, one of them above 0")]
    Weights { key: &'static str },
    #[error(
        "textures folder {folder:?} holds no readable jpg or png; name another or leave it out"
    )]
    NoTextures { folder: PathBuf },
    #[error("{folder:?} already holds a dataset or other files; choose a new or empty folder")]
    NotEmpty { folder: PathBuf },
    #[error("{path:?} holds no whole mesh of true surfaces; make the dataset again")]
    NotSolids { path: PathBuf },
    #[error("build a search tree over the true surfaces; make the dataset again")]
    Mesh {
        #[source]
        source: magpie_perception::BoxError,
    },
    #[error("read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("write {path:?}; check that the folder is writable and the disk has room")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("encode {path:?}; check that the folder is writable and the disk has room")]
    Encode {
        path: PathBuf,
        #[source]
        source: image::ImageError,
    },
}
