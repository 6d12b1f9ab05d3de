//! What the service's user may read and write. The doctor may be another user, so the answer is
//! taken from owners and modes; access control lists are not looked at.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::system;

/// The user of the unit.
pub(super) const SERVICE_USER: &str = "magpie";
/// The unit lets the service into these groups.
const SERVICE_GROUPS: [&str; 2] = ["video", "render"];
/// The unit shows the service nothing below these.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
/// The unit lets the service write below this.
const STATE: &str = "/var/lib/magpie";

const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    gids: Vec<u32>,
}

impl User {
    /// The service's user; `None` where this machine has none.
    pub(super) fn of_service() -> Option<User> {
        let (passwd, groups) = (system::read("/etc/passwd")?, system::read("/etc/group")?);
        User::parse(&passwd, &groups)
    }

    fn parse(passwd: &str, groups: &str) -> Option<User> {
        let user = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let user = user.into_iter().find(|fields| fields.first() == Some(&SERVICE_USER))?;
        let number = |field: Option<&&str>| field?.parse::<u32>().ok();
        let (uid, gid) = (number(user.get(2))?, number(user.get(3))?);
        let mut gids = vec![gid];
        for line in groups.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let members = fields.get(3).copied().unwrap_or_default();
            let is_in = fields.first().is_some_and(|name| SERVICE_GROUPS.contains(name))
                || members.split(',').any(|member| member == SERVICE_USER);
            gids.extend(number(fields.get(2)).filter(|_| is_in));
        }
        Some(User { uid, gids })
    }

    /// Why the user cannot read a file; `None` if it can.
    pub(super) fn cannot_read(&self, path: &Path) -> Option<String> {
        hidden(path).or_else(|| self.obstacle(path, READ))
    }

    /// Why the user cannot make files in a folder, or make the folder; `None` if it can.
    pub(super) fn cannot_write(&self, folder: &Path) -> Option<String> {
        if !folder.starts_with(STATE) {
            return Some(format!("the unit lets the service write below {STATE} alone"));
        }
        let existing = folder.ancestors().find(|folder| folder.exists())?;
        // The unit makes this one, and gives it to the user.
        if !existing.starts_with(STATE) {
            return None;
        }
        self.obstacle(existing, WRITE | ENTER)
    }

    fn obstacle(&self, path: &Path, wanted: u32) -> Option<String> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        let enter = above.into_iter().map(|folder| (folder, ENTER));
        for (place, wanted) in enter.chain([(path, wanted)]) {
            match std::fs::metadata(place) {
                Ok(metadata) if self.may(&metadata, wanted) => {}
                Ok(_) => {
                    let what = if wanted == READ { "read" } else { "use" };
                    let shown = place.display();
                    return Some(format!("user {SERVICE_USER} may not {what} {shown}"));
                }
                // What is missing is told by who needs it.
                Err(_) => return None,
            }
        }
        None
    }

    fn may(&self, metadata: &Metadata, wanted: u32) -> bool {
        self.may_by_mode(metadata.uid(), metadata.gid(), metadata.mode(), wanted)
    }

    /// The first that fits decides: owner, group, others.
    fn may_by_mode(&self, uid: u32, gid: u32, mode: u32, wanted: u32) -> bool {
        let granted = if uid == self.uid {
            mode >> 6
        } else if self.gids.contains(&gid) {
            mode >> 3
        } else {
            mode
        };
        granted & wanted == wanted
    }
}

/// Why the unit does not show a file to the service, if so.
fn hidden(path: &Path) -> Option<String> {
    let below = HIDDEN.iter().find(|hidden| path.starts_with(hidden))?;
    Some(format!("the unit shows the service nothing below {below}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn user() -> User {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nmagpie:x:990:991:Magpie:/var/lib/magpie:/bin/no\n";
        let groups = "video:x:44:\nplugdev:x:46:root,magpie\ngames:x:60:magpies\nmagpie:x:991:\n";
        User::parse(passwd, groups).unwrap()
    }

    #[test]
    fn the_services_groups_are_its_own_and_the_units() {
        assert_eq!(user(), User { uid: 990, gids: vec![991, 44, 46] });
        assert_eq!(User::parse("root:x:0:0:::\n", ""), None);
        assert_eq!(User::parse("magpie:x:odd:991:::\n", ""), None);
    }

    #[test]
    fn owner_group_and_others_are_asked_in_that_order() {
        let user = user();
        assert!(user.may_by_mode(990, 0, 0o400, READ));
        assert!(!user.may_by_mode(990, 44, 0o044, READ), "the owner is refused first");
        assert!(user.may_by_mode(0, 44, 0o040, READ));
        assert!(!user.may_by_mode(0, 44, 0o004, READ));
        assert!(user.may_by_mode(0, 0, 0o004, READ));
        assert!(!user.may_by_mode(0, 0, 0o002, WRITE | ENTER));
    }

    #[test]
    fn a_folder_that_cannot_be_entered_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lens.yaml");
        std::fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(folder.path(), 0o700);
        let shut = user().obstacle(&file, READ).unwrap();
        assert!(shut.ends_with(&folder.path().display().to_string()), "{shut}");
        mode(folder.path(), 0o755);
        mode(&file, 0o600);
        assert!(user().obstacle(&file, READ).unwrap().contains("may not read"));
        mode(&file, 0o644);
        assert_eq!(user().obstacle(&file, READ), None);
        assert!(user().cannot_read(&file).unwrap().contains("nothing below /tmp"));
    }

    #[test]
    fn the_service_writes_below_its_state_alone() {
        let elsewhere = user().cannot_write(Path::new("/srv/recordings")).unwrap();
        assert!(elsewhere.contains("/var/lib/magpie"), "{elsewhere}");
    }
}
