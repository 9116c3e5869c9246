//! PostgreSQL 15 of the system: where it is, whose it is, what it is started with.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::process::run;

/// Where Debian's package puts the server, which is on nobody's `PATH`.
const DEBIAN: &str = "/usr/lib/postgresql/15/bin";
const PACKAGE: &str = "postgresql-15";
/// Main version of the server.
const VERSION: &str = "15";
/// The user of the database, who needs no password: the server listens on 127.0.0.1 only.
pub const USER: &str = "postgres";
/// The database that is made.
pub const DATABASE: &str = "millrace";

/// The folder of the server's programs.
///
/// # Errors
/// It is not installed, or in another version; the text says which package.
pub fn binaries() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::iter::once(PathBuf::from(DEBIAN)).chain(std::env::split_paths(&path));
    let found = folders.find(|folder| folder.join("postgres").exists() && folder.join("initdb").exists());
    let folder = found.ok_or_else(|| Error::Missing { what: "PostgreSQL 15".into(), package: PACKAGE })?;
    let said =
        run(Command::new(folder.join("postgres")).arg("--version"), "asking PostgreSQL for its version", PACKAGE, "")?;
    if is_version_15(&said) {
        return Ok(folder);
    }
    Err(Error::Missing { what: format!("PostgreSQL 15 (there is {})", said.trim()), package: PACKAGE })
}

/// Reads `postgres (PostgreSQL) 15.13 (Debian …)`.
fn is_version_15(said: &str) -> bool {
    let version = said.split_ascii_whitespace().nth(2).unwrap_or_default();
    version.split('.').next() == Some(VERSION)
}

/// Arguments of `postgres`.
pub fn server_args(data: &Path, port: u16) -> Vec<String> {
    let mut args = vec!["-D".to_owned(), data.display().to_string()];
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        // No socket file: its path would have to be short.
        "unix_socket_directories=".to_owned(),
        "max_connections=60".to_owned(),
        "timezone=UTC".to_owned(),
    ];
    args.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    args
}

/// The URL of the database [`DATABASE`].
pub fn url(port: u16) -> String {
    format!("postgres://{USER}@127.0.0.1:{port}/{DATABASE}")
}

/// The server refuses to run as root: root runs it as the user the package made. `None`: as who we are.
pub(crate) fn owner() -> Result<Option<(u32, u32)>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let file = Path::new("/etc/passwd");
    let users = fs::read_to_string(file).map_err(Error::io("read", file))?;
    let ids = user_ids(&users, USER);
    ids.map(Some).ok_or_else(|| Error::Missing { what: format!("the user {USER}"), package: PACKAGE })
}

/// User and group id in `/etc/passwd`.
fn user_ids(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let mut fields = fields.skip(1);
        found.then_some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// Makes the data folder, once. It is made under another name and renamed when it is whole.
pub(crate) fn prepare(binaries: &Path, data: &Path, owner: Option<(u32, u32)>) -> Result<(), Error> {
    if data.join("PG_VERSION").exists() {
        return Ok(());
    }
    let partial = data.with_extension("partial");
    crate::packages::remove(&partial)?;
    fs::create_dir_all(&partial).map_err(Error::io("make", &partial))?;
    let mut command = Command::new(binaries.join("initdb"));
    command.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--username", USER, "-D"]).arg(&partial);
    if let Some((user, group)) = owner {
        use std::os::unix::process::CommandExt;
        check_reachable(&partial)?;
        chown(&partial, Some(user), Some(group)).map_err(Error::io("give to its user", &partial))?;
        command.uid(user).gid(group);
    }
    command.current_dir(&partial);
    run(&mut command, "making the database's folder", PACKAGE, "")?;
    fs::rename(&partial, data).map_err(Error::io("move into place", data))
}

/// Another user than root must be able to go through every folder above.
fn check_reachable(data: &Path) -> Result<(), Error> {
    let closed = data.ancestors().skip(1).find(|above| {
        let mode = fs::metadata(above).map(|meta| (meta.permissions().mode(), meta.uid()));
        mode.is_ok_and(|(mode, _)| mode & 0o001 == 0)
    });
    let Some(closed) = closed else { return Ok(()) };
    Err(Error::Conflict(format!(
        "PostgreSQL, which root runs as the user {USER}, cannot reach {}: {} is closed to it; \
         choose another folder for the cluster, or run it as an ordinary user",
        data.display(),
        closed.display()
    )))
}

/// Makes the database [`DATABASE`], if it is not there.
pub(crate) fn create_database(binaries: &Path, port: u16) -> Result<(), Error> {
    let mut command = Command::new(binaries.join("createdb"));
    command.args(["--host=127.0.0.1", &format!("--port={port}"), "--username", USER, "--no-password", DATABASE]);
    match run(command.env("LC_ALL", "C"), "making the database", PACKAGE, "") {
        Err(Error::Failed { detail, .. }) if detail.contains("already exists") => Ok(()),
        made => made.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        assert!(is_version_15("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"));
        assert!(!is_version_15("postgres (PostgreSQL) 16.2\n") && !is_version_15(""));
    }

    #[test]
    fn arguments_keep_to_loopback() {
        let args = server_args(Path::new("/d"), 15_432).join(" ");
        assert!(args.starts_with("-D /d -c listen_addresses=127.0.0.1 -c port=15432 "), "{args}");
        assert_eq!(url(15_432), "postgres://postgres@127.0.0.1:15432/millrace");
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        let users = "root:x:0:0:root:/r:/bin/sh\npostgresql:x:1:2::/:/bin/sh\npostgres:x:107:113:,,,:/p:/bin/bash\n";
        assert_eq!(user_ids(users, "postgres"), Some((107, 113)));
        assert_eq!(user_ids(users, "nobody"), None);
    }
}
