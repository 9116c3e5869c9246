//! Files of a folder that are there whole and durable, or not at all: the library's folder does not wait for the disk.
//!
//! A file gets its name when the disk has its bytes; until then it is called `.staged-…`, which does not count.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::{Error, PutMode, Result};

/// How the name of a file begins that is not whole yet.
const STAGED: &str = ".staged-";
/// Tries to write a file whose folder somebody deletes because it is empty.
const WRITE_TRIES: u32 = 5;
/// What an unfinished file is left alone for, minutes: another archiver may be writing it.
const STAGED_MINUTES_MIN: u64 = 60;

/// Writes a file below a folder: over one of this name, or, in mode `Create`, unless there is one. When it returns, file and
/// folders are on the disk.
pub(super) async fn put(root: &Path, path: &str, bytes: Bytes, mode: PutMode) -> Result<()> {
    let (root, name) = (root.to_owned(), path.to_owned());
    let is_new = mode == PutMode::Create;
    let written = tokio::task::spawn_blocking(move || write(&root, &name, &bytes, is_new)).await?;
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists if is_new => Error::AlreadyExists { path: path.to_owned(), source: error.into() },
        _ => Error::Generic { store: "folder", source: error.into() },
    })
}

fn write(root: &Path, path: &str, bytes: &[u8], is_new: bool) -> io::Result<()> {
    let path = root.join(path);
    let parent = path.parent().unwrap_or(root);
    let mut tries = 0;
    let mut staged = loop {
        tries += 1;
        fs::create_dir_all(parent)?;
        // Readable for whoever the umask lets read: the lake is shared with other programs.
        let staged =
            tempfile::Builder::new().prefix(STAGED).permissions(Permissions::from_mode(0o666)).tempfile_in(parent);
        match staged {
            Err(e) if e.kind() == ErrorKind::NotFound && tries < WRITE_TRIES => {}
            staged => break staged?,
        }
    };
    staged.write_all(bytes)?;
    staged.as_file().sync_all()?;
    if is_new {
        staged.persist_noclobber(&path)?;
    } else {
        staged.persist(&path)?;
    }
    // A name is on the disk when its folder is, and a folder, which may be new, when the one above is.
    for above in parent.ancestors().take_while(|above| above.starts_with(root)) {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// A file that is being written, or was when its writer died.
pub(super) fn is_staged(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(STAGED))
}

/// Deletes what a crash left of files that were never finished; how many they were.
pub(super) fn delete_staged(folder: &Path) -> io::Result<usize> {
    delete_staged_before(folder, SystemTime::now() - Duration::from_secs(STAGED_MINUTES_MIN * 60))
}

/// Deletes the staged files below a folder that were not touched since.
fn delete_staged_before(folder: &Path, before: SystemTime) -> io::Result<usize> {
    let mut deleted = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_staged(&path) {
                // Another archiver may have finished it meanwhile.
                let old = path.metadata().and_then(|of| of.modified()).is_ok_and(|touched| touched <= before);
                deleted += usize::from(old && fs::remove_file(&path).is_ok());
            }
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_of_many_creates_it_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("lake");
        let create = |at: u8| {
            let root = root.clone();
            tokio::spawn(async move { put(&root, "_claims/t/1", Bytes::from(vec![at; 3]), PutMode::Create).await })
        };
        let (mut created, mut refused) = (0, 0);
        for task in (0..8).map(create).collect::<Vec<_>>() {
            match task.await.expect("no panic") {
                Ok(()) => created += 1,
                Err(Error::AlreadyExists { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((created, refused), (1, 7));
        put(&root, "_claims/t/1", Bytes::from_static(b"over"), PutMode::Overwrite).await.expect("written over");
        assert_eq!(fs::read(root.join("_claims/t/1")).expect("there"), b"over");
        assert_eq!(fs::read_dir(root.join("_claims/t")).expect("a folder").count(), 1);
        let error = put(&root, "_claims/t/1/below", Bytes::new(), PutMode::Overwrite).await.expect_err("below a file");
        assert!(matches!(error, Error::Generic { .. }), "{error}");
    }

    #[test]
    fn only_old_unfinished_files_of_its_own_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let staged = folder.path().join(".staged-x1Y2z3");
        fs::write(&staged, "half").expect("a staged file");
        fs::write(folder.path().join("notes.txt"), "not ours").expect("another file");
        assert_eq!(delete_staged(folder.path()).expect("swept"), 0);
        let soon = SystemTime::now() + Duration::from_secs(1);
        assert_eq!(delete_staged_before(folder.path(), soon).expect("swept"), 1);
        assert_eq!(delete_staged_before(&folder.path().join("none"), soon).expect("nothing"), 0);
        assert!(!staged.exists() && folder.path().join("notes.txt").exists());
    }
}
