//! Every annotation that the injector knows: one table, [`TABLE`], the reader that applies its
//! types and defaults, and the page of documentation made from it.

mod page;
mod read;
pub(super) mod table;

pub use page::reference_page;
pub(super) use read::{Annotations, hints, is_mount_path, is_ours, shown, words};
pub use table::TABLE;

/// One annotation: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// The whole key, prefix included.
    pub key: &'static str,
    /// What values mean.
    pub kind: Kind,
    /// The value that counts where the annotation is absent or unusable; empty for "not set".
    pub default: &'static str,
    /// What it does, as Markdown.
    pub effect: &'static str,
    /// Values that are denied because they lower the security of the sidecar container, as
    /// Markdown; empty where there are none.
    pub weakens: &'static str,
}

/// The type of an annotation's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exactly `true`, in any case.
    Gate,
    /// Any text.
    Text,
    /// A truth value, see [`crate::base::truthy`]; everything else is false.
    Flag,
    /// A whole number within bounds.
    Number {
        /// The smallest that is accepted.
        min: i32,
        /// The largest that is accepted.
        max: i32,
    },
    /// A port, 1 to 65535.
    Port,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// An amount of CPU or memory, as Kubernetes writes it.
    Quantity,
    /// A number of bytes, as a Kubernetes quantity.
    Bytes,
    /// A duration, as Go writes it.
    Duration,
    /// An app id.
    AppId,
    /// The name of a Secret in the pod's namespace.
    SecretName,
    /// Words with commas between them.
    List,
    /// `NAME=value,NAME=value`.
    Env,
    /// `NAME=secret` or `NAME=secret:key`, with commas between them.
    EnvFromSecret,
    /// `volume:path,volume:path`.
    Mounts,
    /// An absolute path.
    Path,
    /// Not for pods: read elsewhere, or written by the injector.
    NotRead,
}
