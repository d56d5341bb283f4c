//! Volumes of the pod that the sidecar mounts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Volume, VolumeMount};

use crate::injector::annotations::table as key;
use crate::injector::annotations::{Annotation, Annotations, is_mount_path, shown, words};
use crate::injector::denial::Denial;

/// Where the program is in its image.
const PROGRAM: [&str; 2] = ["/daprd", "/sidegate"];

/// Reads both annotations: all read-only mounts, then the others.
pub(super) fn check(
    pod: &Pod,
    annotations: &mut Annotations<'_>,
    weakened: bool,
) -> Result<Vec<VolumeMount>, Denial> {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let volumes: BTreeMap<&str, &Volume> = volumes
        .map(|volume| (volume.name.as_str(), volume))
        .collect();
    let mut mounts = Vec::new();
    for (row, read_only) in [(key::VOLUME_MOUNTS, true), (key::VOLUME_MOUNTS_RW, false)] {
        for entry in words(annotations.text(&row)) {
            let start = format!("annotation {:?}: {}", row.key, shown(entry));
            let Some((name, path)) = name_and_path(entry) else {
                annotations.warn(format!("{start} is not volume:path; it is ignored"));
                continue;
            };
            let Some(volume) = volumes.get(name) else {
                annotations.warn(format!(
                    "{start} names a volume that the pod does not have; it is ignored"
                ));
                continue;
            };
            if !is_mount_path(path) {
                return Err(Denial::cannot_run(format!(
                    "{start} has no path to mount at: accepted is an absolute path without \"..\", \
                     other than \"/\""
                )));
            }
            if let Some(why) = weakness(volume, path, &row) {
                annotations.weakens(weakened, format!("{start} {why}"))?;
            }
            mounts.push(VolumeMount {
                name: name.to_owned(),
                mount_path: path.to_owned(),
                read_only: read_only.then_some(true),
                ..VolumeMount::default()
            });
        }
    }
    Ok(mounts)
}

fn name_and_path(entry: &str) -> Option<(&str, &str)> {
    let (name, path) = entry.split_once(':')?;
    let (name, path) = (name.trim(), path.trim());
    (!name.is_empty() && !path.is_empty() && !path.contains(':')).then_some((name, path))
}

fn weakness(volume: &Volume, path: &str, row: &Annotation) -> Option<&'static str> {
    let projected = volume.projected.as_ref();
    let has_account_token = projected
        .into_iter()
        .flat_map(|projected| projected.sources.iter().flatten())
        .any(|source| source.service_account_token.is_some());
    if volume.host_path.is_some() {
        Some("would give the sidecar files of the node; accepted are other volumes than hostPath")
    } else if PROGRAM.contains(&normalised(path).as_str()) {
        Some("would replace the sidecar's program; accepted is another path")
    } else if has_account_token && *row == key::VOLUME_MOUNTS_RW {
        Some("would let the sidecar write a service account token; mount it read-only")
    } else {
        None
    }
}

/// A path in its one spelling, for comparisons.
pub(in crate::injector) fn normalised(path: &str) -> String {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .fold(String::new(), |whole, part| whole + "/" + part)
}
