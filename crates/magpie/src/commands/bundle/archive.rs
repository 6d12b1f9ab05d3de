//! One archive whose first file says what is in it, what is not, and what was replaced.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use magpie_files::OutputFile;
use tar::{Builder, Header};

const README: &str = "README.txt";

/// What goes into an archive.
#[derive(Default)]
pub(super) struct Contents {
    entries: Vec<Entry>,
    left_out: Vec<(String, String)>,
}

struct Entry {
    name: String,
    what: String,
    data: Data,
}

enum Data {
    Text(String),
    /// A file as far as it went when it was opened: it may be growing. An open file stays, however it
    /// is moved or removed meanwhile.
    File {
        file: File,
        bytes: u64,
    },
}

impl Contents {
    /// Adds a text, without the secrets in it.
    pub(super) fn add(&mut self, name: impl Into<String>, what: impl Into<String>, text: &str) {
        let (name, what) = (name.into(), what.into());
        let mut text = magpie_camera::redact(text);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.entries.push(Entry { name, what, data: Data::Text(text) });
    }

    pub(super) fn add_file(
        &mut self,
        name: impl Into<String>,
        what: impl Into<String>,
        file: File,
        bytes: u64,
    ) {
        let (name, what) = (name.into(), what.into());
        self.entries.push(Entry { name, what, data: Data::File { file, bytes } });
    }

    pub(super) fn leave_out(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.left_out.push((name.into(), magpie_camera::redact(&why.into())));
    }

    /// What is in it, for whoever sends it and for whoever gets it.
    pub(super) fn listing(&self) -> String {
        let mut listing = String::new();
        let mut line = |name: &str, what: &str| {
            writeln!(listing, "  {name:<36} {what}").expect("strings take everything");
        };
        for Entry { name, what, data } in &self.entries {
            let kilobytes = data.bytes().div_ceil(1000);
            line(name, &format!("{kilobytes} kB, {what}"));
        }
        if !self.left_out.is_empty() {
            listing.push_str("left out:\n");
            for (name, why) in &self.left_out {
                writeln!(listing, "  {name:<36} {why}").expect("strings take everything");
            }
        }
        listing.push_str(
            "Passwords, tokens and private keys were replaced by ***. Addresses and names were not: \
             look through it before you send it.\n",
        );
        listing
    }

    /// Writes all of it, below a folder of the archive's own name. `unix_s` is the time that it is made.
    pub(super) fn write(&self, path: &Path, folder: &str, unix_s: u64) -> io::Result<()> {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.entries.iter().find(|entry| !names.insert(&entry.name)) {
            let name = &twice.name;
            let why = format!("two configurations would both be {name}: bundle them one by one");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let output = OutputFile::create(path)?;
        let mut archive = Builder::new(GzEncoder::new(output, Compression::default()));
        let listing = self.listing();
        let readme = Data::Text(format!("Made by `magpie bundle`, which put into it:\n{listing}"));
        let all = self.entries.iter().map(|entry| (entry.name.as_str(), &entry.data));
        for (name, data) in std::iter::once((README, &readme)).chain(all) {
            let mut header = Header::new_gnu();
            header.set_size(data.bytes());
            header.set_mode(0o644);
            header.set_mtime(unix_s);
            let name = format!("{folder}/{name}");
            match data {
                Data::Text(text) => archive.append_data(&mut header, name, text.as_bytes())?,
                Data::File { file, bytes } => {
                    // A file that was cut short meanwhile is filled up: its length is written already.
                    let whole = file.take(*bytes).chain(io::repeat(0)).take(*bytes);
                    archive.append_data(&mut header, name, whole)?;
                }
            }
        }
        archive.into_inner()?.finish()?.finish()
    }
}

impl Data {
    fn bytes(&self) -> u64 {
        match self {
            Data::Text(text) => text.len() as u64,
            Data::File { bytes, .. } => *bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn an_archive_says_what_is_in_it_and_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, growing) = (folder.path().join("b.tar.gz"), folder.path().join("growing"));
        std::fs::write(&growing, "0123456789").unwrap();
        let mut contents = Contents::default();
        contents.add("config.toml", "the configuration", "url = \"rtsp://a:hidden@h/x\"");
        let open = || File::open(&growing).unwrap();
        contents.add_file("cell.mcap", "the recording", open(), 4);
        contents.add_file("short.mcap", "a file that became shorter", open(), 12);
        std::fs::remove_file(&growing).unwrap();
        contents.leave_out("log.txt", "nobody may read rtsp://a:hidden@h/x");
        contents.write(&path, "bundle", 0).unwrap();

        let file = File::open(&path).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        let mut read = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            read.push((entry.path().unwrap().display().to_string(), text));
        }
        let names: Vec<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["bundle/README.txt", "bundle/config.toml", "bundle/cell.mcap", "bundle/short.mcap"]
        );
        for part in ["config.toml", "cell.mcap", "left out", "log.txt"] {
            assert!(read[0].1.contains(part), "{part} is not in {}", read[0].1);
        }
        assert!(read.iter().all(|(_, text)| !text.contains("hidden")), "{read:?}");
        assert_eq!((&*read[2].1, read[3].1.len()), ("0123", 12));
    }
}
