//! Files below one folder, and nothing else: no link is followed, wherever it stands and whoever put it there.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};

use super::names::{Folder, numbered};

/// Bytes that are written at once.
const WRITE: usize = 1 << 20;
/// Other names that are tried for one that is taken.
const MAX_NUMBER: usize = 1_000_000;

/// Opens a folder whose path the user gave, links and all.
pub(super) fn open_ambient(path: &Path) -> io::Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
}

/// Opens a plain file in this folder for reading, together with its length. A pipe is no file, and does not make anybody wait.
pub(super) fn open_plain(folder: &Dir, name: &str) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).nonblock(true);
    let file = folder.open_with(name, &options)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no plain file"));
    }
    Ok((file, meta.len()))
}

/// The folders of a plan as they are here.
#[derive(Debug)]
pub(super) struct Folders {
    root: Dir,
    folders: Vec<Folder>,
    /// The one that was opened last: files of one folder come together.
    open: Option<(usize, Dir)>,
}

impl Folders {
    pub(super) fn new(root: Dir, folders: Vec<Folder>) -> Self {
        Self {
            root,
            folders,
            open: None,
        }
    }

    /// How many there are, with the one that everything goes into.
    pub(super) fn count(&self) -> usize {
        self.folders.len()
    }

    /// The path of a folder, with a `/` behind it if it is not the first.
    pub(super) fn path(&self, folder: usize) -> String {
        let mut path = String::new();
        let mut at = folder;
        while at != 0 {
            path.insert(0, '/');
            path.insert_str(0, &self.folders[at].name);
            at = self.folders[at].parent;
        }
        path
    }

    /// The folder if it is there.
    pub(super) fn find(&self, folder: usize) -> io::Result<Dir> {
        if folder == 0 {
            return self.root.try_clone();
        }
        let Folder { parent, name } = &self.folders[folder];
        self.find(*parent)?.open_dir_nofollow(name)
    }

    /// The folder, made if it is not there. Where something else has its name, a link too, it gets another.
    pub(super) fn enter(&mut self, folder: usize) -> io::Result<Dir> {
        if let Some((_, dir)) = self.open.as_ref().filter(|(open, _)| *open == folder) {
            return dir.try_clone();
        }
        let dir = self.make(folder)?;
        self.open = Some((folder, dir.try_clone()?));
        Ok(dir)
    }

    fn make(&mut self, folder: usize) -> io::Result<Dir> {
        if folder == 0 {
            return self.root.try_clone();
        }
        let parent = self.make(self.folders[folder].parent)?;
        let wanted = self.folders[folder].name.clone();
        for number in 0..MAX_NUMBER {
            let name = match number {
                0 => wanted.clone(),
                number => numbered(&wanted, number),
            };
            match parent.create_dir(&name) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // One of ours is as good as another's folder only under the name that was wanted.
                    let is_folder = parent.symlink_metadata(&name).is_ok_and(|meta| meta.is_dir());
                    if number > 0 || !is_folder {
                        continue;
                    }
                }
                Err(error) => return Err(error),
            }
            let dir = parent.open_dir_nofollow(&name)?;
            self.folders[folder].name = name;
            return Ok(dir);
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// A file that is being written, under a name of its own until it is whole.
#[derive(Debug)]
pub(super) struct Part {
    folder: Dir,
    name: String,
    file: BufWriter<File>,
}

impl Part {
    /// Goes on behind what is there, or begins.
    pub(super) fn open(folder: Dir, name: String, goes_on: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.follow(FollowSymlinks::No).nonblock(true);
        if goes_on {
            options.append(true);
        } else {
            match folder.remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            options.write(true).create_new(true);
        }
        let file = folder.open_with(&name, &options)?;
        Ok(Self {
            folder,
            name,
            file: BufWriter::with_capacity(WRITE, file),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Takes it away.
    pub(super) fn remove(self) -> io::Result<()> {
        let Self { folder, name, file } = self;
        // What waits to be written is of no use any more.
        drop(file.into_parts());
        folder.remove_file(name)
    }

    /// Gives it its name, or one with a number if that is taken and may not be replaced; returns which.
    pub(super) fn finish(self, name: &str, replace: bool) -> io::Result<String> {
        let Self {
            folder,
            name: part,
            file,
        } = self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        // Many small ones wait for the disk together, at the end.
        if file.metadata()?.len() >= WRITE as u64 {
            file.sync_data()?;
        }
        drop(file);
        let is_folder = folder.symlink_metadata(name).is_ok_and(|meta| meta.is_dir());
        if replace && !is_folder {
            folder.rename(&part, &folder, name)?;
            return Ok(name.to_owned());
        }
        for number in 0..MAX_NUMBER {
            let name = match number {
                0 => name.to_owned(),
                number => numbered(name, number),
            };
            // A link fails where the name is taken, in one step; not every file system has them.
            match folder.hard_link(&part, &folder, &name) {
                Ok(()) => {
                    folder.remove_file(&part)?;
                    return Ok(name);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) if folder.symlink_metadata(&name).is_ok() => {}
                Err(_) => {
                    folder.rename(&part, &folder, &name)?;
                    return Ok(name);
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Whether two plain files of one folder hold the same.
pub(super) fn are_equal(folder: &Dir, one: &str, other: &str) -> io::Result<bool> {
    let (mut one, one_len) = open_plain(folder, one)?;
    let (mut other, other_len) = open_plain(folder, other)?;
    if one_len != other_len {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; WRITE], vec![0; WRITE]);
    loop {
        let len = one.read(&mut ours)?;
        if len == 0 {
            return Ok(true);
        }
        other.read_exact(&mut theirs[..len])?;
        if ours[..len] != theirs[..len] {
            return Ok(false);
        }
    }
}

/// Whether the disk has no room for more: no other file will fare better.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folders(root: &Path, names: &[(usize, &str)]) -> Folders {
        let mut folders = vec![(0, "")];
        folders.extend_from_slice(names);
        let folder = |(parent, name): (usize, &str)| Folder {
            parent,
            name: name.into(),
        };
        Folders::new(open_ambient(root).unwrap(), folders.into_iter().map(folder).collect())
    }

    #[test]
    fn folders_are_made_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let mut made = folders(root.path(), &[(0, "a"), (1, "b")]);
        assert!(made.find(2).is_err(), "none is made for a question");
        made.enter(2).unwrap();
        assert!(root.path().join("a/b").is_dir());
        assert_eq!(made.path(2), "a/b/");
        folders(root.path(), &[(0, "a"), (1, "b")]).enter(2).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn mend18_what_has_a_folders_name_and_is_none_is_left_alone() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(root.path().join("a"), "a file").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("a (1)")).unwrap();
        let mut made = folders(root.path(), &[(0, "a")]);
        made.enter(1).unwrap();
        assert!(made.path(1) == "a (2)/" || !cfg!(unix), "{}", made.path(1));
        assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "a file");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    #[cfg(unix)]
    fn mend18_links_and_pipes_are_no_files() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("secret"), root.path().join("link")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(root.path().join("pipe"))
            .status();
        assert!(made.unwrap().success());
        let folder = open_ambient(root.path()).unwrap();
        for name in ["link", "pipe", "."] {
            assert!(open_plain(&folder, name).is_err(), "{name}");
        }
        // Nor is anything written through a link, whatever name it has.
        for goes_on in [true, false] {
            let part = Part::open(folder.try_clone().unwrap(), "link".into(), goes_on);
            if let Ok(mut part) = part {
                part.write(b"over").unwrap();
                assert_eq!(part.finish("link", true).unwrap(), "link");
            }
            assert_eq!(fs::read_to_string(elsewhere.path().join("secret")).unwrap(), "secret");
        }
    }

    #[test]
    fn names_that_are_taken_get_numbers_and_nothing_is_replaced_unasked() {
        let root = tempfile::tempdir().unwrap();
        let folder = open_ambient(root.path()).unwrap();
        let write = |text: &str, replace| {
            let mut part = Part::open(folder.try_clone().unwrap(), "x.part".into(), false).unwrap();
            part.write(text.as_bytes()).unwrap();
            part.finish("a.tar.gz", replace).unwrap()
        };
        assert_eq!(write("1", false), "a.tar.gz");
        assert_eq!(write("2", false), "a.tar (1).gz");
        assert_eq!(write("1", false), "a.tar (2).gz");
        assert_eq!(write("4", true), "a.tar.gz");
        let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
        assert_eq!((read("a.tar.gz"), read("a.tar (1).gz")), ("4".into(), "2".into()));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
        let folder = open_ambient(root.path()).unwrap();
        assert!(!are_equal(&folder, "a.tar.gz", "a.tar (1).gz").unwrap());
        assert!(are_equal(&folder, "a.tar (1).gz", "a.tar (1).gz").unwrap());
    }
}
