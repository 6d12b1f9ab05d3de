//! Certificates and configurations of secured cells.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use magpie_network::ZenohConfig;
use tempfile::TempDir;

/// An address of loopback that nobody else has.
pub fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{number}", 1 + process % 254, 1 + process / 254 % 254)
}

/// What scripts/certificates has made, with each cell's files at hand instead of in /etc/magpie/tls.
pub struct Site {
    pub folder: TempDir,
    pub address: String,
}

impl Site {
    pub fn new(address: &str) -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap(), address: address.into() };
        site.add("dock");
        site
    }

    pub fn add(&self, name: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/certificates");
        let mut made = Command::new(script);
        let made = made.args([name, &self.address]).arg(self.folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for who in ["daemon", "arm", "viewer"] {
            let at = self.folder.path().join(name).join(who);
            self.edit(name, who, "/etc/magpie/tls", at.to_str().unwrap());
        }
    }

    pub fn path(&self, name: &str, who: &str) -> PathBuf {
        self.folder.path().join(format!("{name}/{who}/{name}-{who}.json5"))
    }

    pub fn edit(&self, name: &str, who: &str, before: &str, after: &str) {
        let path = self.path(name, who);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(before), "{before} is not in {text}");
        std::fs::write(path, text.replace(before, after)).unwrap();
    }

    pub fn zenoh(&self, who: &str) -> ZenohConfig {
        ZenohConfig::File(self.path("dock", who))
    }
}
