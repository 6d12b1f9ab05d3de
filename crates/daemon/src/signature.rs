//! Whether a model file comes from whom it should: minisign's signatures.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use magpie_files::TEXT_BYTES_MAX;
use minisign_verify::{PublicKey, Signature};

#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error(
        "{model} must be signed, since model.public_key is set, and its signature {signature} cannot be \
         read; make it by `minisign -S -m {model}`"
    )]
    Missing {
        model: String,
        signature: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{signature} is no signature of minisign's")]
    Unreadable { signature: PathBuf },
    #[error(
        "{model} is not what {signature} signs with the secret half of model.public_key: it was changed \
         since, or somebody else signed it; do not use it"
    )]
    Wrong { model: String, signature: PathBuf },
}

/// Where the signature of a file lies.
pub fn signature_path(model: &Path) -> PathBuf {
    let mut path = OsString::from(model);
    path.push(".minisig");
    path.into()
}

/// Checks a model's bytes by the signature in a file, and returns its text.
pub fn check_beside(
    key: &PublicKey,
    model: &Path,
    bytes: &[u8],
    signature: &Path,
) -> Result<String, SignatureError> {
    let (model, signature) = (model.display().to_string(), signature.to_owned());
    let text = match magpie_files::read_text(&signature, TEXT_BYTES_MAX) {
        Ok(text) => text,
        Err(source) => return Err(SignatureError::Missing { model, signature, source }),
    };
    let Ok(decoded) = Signature::decode(&text) else {
        return Err(SignatureError::Unreadable { signature });
    };
    // Signatures of old versions of minisign are as good.
    match key.verify(bytes, &decoded, true) {
        Ok(()) => Ok(text),
        Err(_) => Err(SignatureError::Wrong { model, signature }),
    }
}
