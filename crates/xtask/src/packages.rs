//! What each crate's manifest promises: no dependency that it does not use, versions that suffice, and a package that is complete.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;

use crate::report::Report;
use crate::setup::cargo_shear;
use crate::shell::{cargo, root, run, tail, work_dir};

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    description: Option<String>,
    license: Option<String>,
    readme: Option<PathBuf>,
    manifest_path: PathBuf,
    /// An empty list: it is never published.
    publish: Option<Vec<String>>,
    keywords: Vec<String>,
    categories: Vec<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    req: String,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Resolved>,
}

#[derive(Deserialize)]
struct Resolved {
    pkg: String,
}

impl Metadata {
    fn read() -> Result<Self, String> {
        let args = ["metadata", "--format-version=1", "--locked", "--all-features"];
        // Not by `run`: its warnings go elsewhere than its answer.
        let output = cargo(&args)
            .current_dir(root())
            .output()
            .map_err(|e| format!("cargo metadata: {e}"))?;
        if !output.status.success() {
            return Err(tail(&String::from_utf8_lossy(&output.stderr), 20));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))
    }

    fn package(&self, id: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.id == id)
    }

    /// The packages that anybody may add.
    fn published(&self) -> impl Iterator<Item = &Package> {
        let ours = self.workspace_members.iter().filter_map(|id| self.package(id));
        ours.filter(|package| package.publish.as_ref().is_none_or(|registries| !registries.is_empty()))
    }
}

/// All of it.
pub(crate) fn check(report: &mut Report) {
    println!("packages");
    unused(report);
    let metadata = match Metadata::read() {
        Ok(metadata) => metadata,
        Err(why) => return report.fail("cargo metadata", &why),
    };
    let started = Instant::now();
    let newer = newer_than_stated(&metadata);
    match newer.is_empty() {
        true => report.pass(
            "what is built with is the lowest that manifests allow",
            "",
            started.elapsed(),
        ),
        false => report.fail(
            "what is built with is the lowest that manifests allow",
            &format!("state these versions in Cargo.toml:\n{}", newer.join("\n")),
        ),
    }
    package(report, &metadata);
}

/// `cargo shear`: dependencies that no code names, or only tests do.
fn unused(report: &mut Report) {
    const TITLE: &str = "cargo shear: no unused dependency";
    let program = match cargo_shear() {
        Ok(program) => program,
        Err(why) => return report.fail("install cargo-shear", &why),
    };
    match run(TITLE, Command::new(program).arg("shear").current_dir(root())) {
        Ok(output) if output.success => report.pass(TITLE, "", output.took),
        Ok(output) => report.fail(TITLE, &tail(&output.text, 60)),
        Err(why) => report.fail(TITLE, &why),
    }
}

/// Direct dependencies of which the lock file has a newer version than the manifest asks for. Without such, every build and every test
/// here is one with the lowest versions that the manifests state, and nobody can promise less than was tested.
fn newer_than_stated(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for node in &metadata.resolve.nodes {
        let Some(package) = metadata
            .package(&node.id)
            .filter(|_| metadata.workspace_members.contains(&node.id))
        else {
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_none())
        {
            let resolved = node.deps.iter().filter_map(|resolved| metadata.package(&resolved.pkg));
            let versions: Vec<&str> = resolved
                .filter(|resolved| resolved.name == dependency.name)
                .map(|resolved| &*resolved.version)
                .collect();
            let stated = dependency.req.trim_start_matches(['^', '=']);
            if !versions.contains(&stated) {
                let line = format!(
                    "{} {} is built as {}",
                    dependency.name,
                    dependency.req,
                    versions.join(", ")
                );
                found.push(line);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// `cargo package` for every crate that is published, and a look into what came of it. That they compile is told by all other parts: what
/// is packed is what was built, as long as no file is left out.
fn package(report: &mut Report, metadata: &Metadata) {
    const TITLE: &str = "cargo package";
    let mut command = cargo(&["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"]);
    let ours = metadata.workspace_members.iter().filter_map(|id| metadata.package(id));
    let published: Vec<&Package> = metadata.published().collect();
    for package in ours.filter(|package| !published.iter().any(|other| other.id == package.id)) {
        command.args(["--exclude", &package.name]);
    }
    match run(TITLE, &mut command) {
        Ok(output) if output.success => {
            let detail = format!("{} packages", published.len());
            report.pass(TITLE, &detail, output.took);
        }
        Ok(output) => return report.fail(TITLE, &tail(&output.text, 40)),
        Err(why) => return report.fail(TITLE, &why),
    }
    let started = Instant::now();
    let wanting: Vec<String> = published.iter().flat_map(|package| wanting(package)).collect();
    match wanting.is_empty() {
        true => report.pass("each package is complete", "", started.elapsed()),
        false => report.fail("each package is complete", &wanting.join("\n")),
    }
}

/// What a package lacks.
fn wanting(package: &Package) -> Vec<String> {
    let mut lacks = Vec::new();
    for (what, is_there) in [
        ("description", package.description.is_some()),
        ("license", package.license.is_some()),
        ("readme", package.readme.is_some()),
        ("keywords", !package.keywords.is_empty()),
        ("categories", !package.categories.is_empty()),
    ] {
        if !is_there {
            lacks.push(format!("its manifest has no {what}"));
        }
    }
    let archive = archive(package);
    let listed = Command::new("tar").arg("-tzf").arg(&archive).output();
    let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let files: Vec<&str> = listed.as_deref().unwrap_or_default().lines().collect();
    let top = format!("{}-{}/", package.name, package.version);
    let holds = |name: &str| files.iter().any(|file| file.strip_prefix(&*top) == Some(name));
    for name in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        if !holds(name) {
            lacks.push(format!("no {name} is in it"));
        }
    }
    if !holds("src/lib.rs") && !holds("src/main.rs") {
        lacks.push("no source is in it".into());
    }
    let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
    let outside = readme.lines().filter(|line| line.contains("](../"));
    lacks.extend(outside.map(|line| format!("its README points outside of it: {line}")));
    lacks.iter().map(|lack| format!("{}: {lack}", package.name)).collect()
}

fn archive(package: &Package) -> PathBuf {
    let target = work_dir().parent().expect("inside target").to_owned();
    target
        .join("package")
        .join(format!("{}-{}.crate", package.name, package.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_ahead_of_a_manifest_is_told() {
        let metadata = |built: &str| {
            let text = format!(
                r#"{{"packages": [
                    {{"id": "ours", "name": "ours", "version": "0.1.0", "manifest_path": "", "keywords": [], "categories": [],
                      "dependencies": [{{"name": "bytes", "req": "^1.12.1"}}, {{"name": "mine", "req": "^0.1.0", "path": "x"}}]}},
                    {{"id": "bytes", "name": "bytes", "version": "{built}", "manifest_path": "", "keywords": [], "categories": [],
                      "dependencies": []}}],
                  "resolve": {{"nodes": [{{"id": "ours", "deps": [{{"pkg": "bytes"}}]}}]}},
                  "workspace_members": ["ours"]}}"#
            );
            serde_json::from_str::<Metadata>(&text).expect("it parses")
        };
        assert!(newer_than_stated(&metadata("1.12.1")).is_empty());
        assert_eq!(
            newer_than_stated(&metadata("1.13.0")),
            ["bytes ^1.12.1 is built as 1.13.0"]
        );
    }
}
