//! Sites: a hook point, the positions, and the head where the point has heads.
//!
//! The text is the hook point's name with a bracket: `blocks.2.attn.hook_z[head=1]`,
//! `blocks.1.hook_resid_pre[slot=name]`, `blocks.0.hook_mlp_out[pos=3]`; no bracket means every position and head.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use crate::base::suggestion;
use crate::model::{Architecture, HookKind, HookPoint};

/// The kinds of activation that a plan can replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteKind {
    /// Residual stream before a block.
    ResidPre,
    /// Residual stream between attention and MLP (not in parallel blocks).
    ResidMid,
    /// Residual stream after a block.
    ResidPost,
    /// Head outputs before the output projection.
    Z,
    /// What attention adds to the stream.
    AttnOut,
    /// What the MLP adds to the stream.
    MlpOut,
}

impl SiteKind {
    /// All kinds, in the order in which a block passes them.
    pub const ALL: [SiteKind; 6] =
        [SiteKind::ResidPre, SiteKind::Z, SiteKind::AttnOut, SiteKind::ResidMid, SiteKind::MlpOut, SiteKind::ResidPost];

    /// The short name: `resid_pre`, `z`, …
    pub fn name(self) -> &'static str {
        match self {
            SiteKind::ResidPre => "resid_pre",
            SiteKind::ResidMid => "resid_mid",
            SiteKind::ResidPost => "resid_post",
            SiteKind::Z => "z",
            SiteKind::AttnOut => "attn_out",
            SiteKind::MlpOut => "mlp_out",
        }
    }

    /// The hook that carries it.
    pub fn hook(self) -> HookKind {
        match self {
            SiteKind::ResidPre => HookKind::ResidPre,
            SiteKind::ResidMid => HookKind::ResidMid,
            SiteKind::ResidPost => HookKind::ResidPost,
            SiteKind::Z => HookKind::Z,
            SiteKind::AttnOut => HookKind::AttnOut,
            SiteKind::MlpOut => HookKind::MlpOut,
        }
    }

    fn of(hook: HookKind) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.hook() == hook)
    }
}

impl fmt::Display for SiteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SiteKind {
    type Err = InterveneError;

    fn from_str(text: &str) -> Result<Self, InterveneError> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(SiteKind::name);
            let hint = suggestion(text, names).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            let message = format!("no such kind of site; known are {}{hint}", names.join(", "));
            InterveneError::SiteText { text: text.to_owned(), message }
        })
    }
}

/// Which positions of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Positions {
    /// Every position, those of a continuation included.
    All,
    /// The last token of the named slot; [`super::LAST`] is the prompt's last token, [`super::CHANGED`] the last token
    /// of the first stretch in which the two sides differ.
    Slot(String),
    /// A token index, counted in the factual prompt.
    Index(usize),
}

/// One place of a forward pass that a plan replaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// What is replaced.
    pub kind: SiteKind,
    /// In which block.
    pub layer: usize,
    /// At which positions.
    pub positions: Positions,
    /// Of which head ([`SiteKind::Z`] only); every head where `None`.
    pub head: Option<usize>,
}

impl Site {
    /// The whole activation: every position, every head.
    pub fn everywhere(kind: SiteKind, layer: usize) -> Self {
        Self { kind, layer, positions: Positions::All, head: None }
    }

    /// The activation at the last token of a slot.
    pub fn at_slot(kind: SiteKind, layer: usize, slot: impl Into<String>) -> Self {
        Self { kind, layer, positions: Positions::Slot(slot.into()), head: None }
    }

    /// The activation at one token.
    pub fn at_index(kind: SiteKind, layer: usize, index: usize) -> Self {
        Self { kind, layer, positions: Positions::Index(index), head: None }
    }

    /// One head's output at every position.
    pub fn of_head(layer: usize, head: usize) -> Self {
        Self { kind: SiteKind::Z, layer, positions: Positions::All, head: Some(head) }
    }

    /// The hook point behind it.
    pub fn hook(&self) -> HookPoint {
        HookPoint { kind: self.kind.hook(), layer: self.layer }
    }

    /// Refuses a site that the architecture does not have.
    pub fn check(&self, architecture: &Architecture) -> Result<(), InterveneError> {
        let refuse = |message: String| {
            Err(InterveneError::NoSuchSite { site: self.to_string(), family: architecture.family.clone(), message })
        };
        if self.layer >= architecture.n_layers {
            return refuse(format!("layers run from 0 to {}", architecture.n_layers.saturating_sub(1)));
        }
        if self.kind == SiteKind::ResidMid && architecture.parallel_residual {
            return refuse("its blocks add attention and MLP in parallel, there is no stream between them; use resid_pre or resid_post".into());
        }
        match self.head {
            Some(_) if self.kind != SiteKind::Z => refuse("only z has heads".into()),
            Some(head) if head >= architecture.n_heads => {
                refuse(format!("heads run from 0 to {}", architecture.n_heads.saturating_sub(1)))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.hook())?;
        let mut parts = Vec::new();
        if let Some(head) = self.head {
            parts.push(format!("head={head}"));
        }
        match &self.positions {
            Positions::All => {}
            Positions::Slot(slot) => parts.push(format!("slot={slot}")),
            Positions::Index(index) => parts.push(format!("pos={index}")),
        }
        if parts.is_empty() { Ok(()) } else { write!(f, "[{}]", parts.join(",")) }
    }
}

impl FromStr for Site {
    type Err = InterveneError;

    fn from_str(text: &str) -> Result<Self, InterveneError> {
        let refuse = |message: String| InterveneError::SiteText { text: text.to_owned(), message };
        let (name, bracket) = match text.split_once('[') {
            None => (text, None),
            Some((name, rest)) => {
                let inside = rest.strip_suffix(']').ok_or_else(|| refuse("the bracket is not closed".into()))?;
                (name, Some(inside))
            }
        };
        let hook: HookPoint = name.parse().map_err(|error| refuse(format!("{error}")))?;
        let kind = SiteKind::of(hook.kind).ok_or_else(|| {
            refuse(format!(
                "this hook can be read but not patched; sites are of kind {}",
                SiteKind::ALL.map(SiteKind::name).join(", ")
            ))
        })?;
        let mut site = Site::everywhere(kind, hook.layer);
        for part in bracket.into_iter().flat_map(|inside| inside.split(',')) {
            site.read_part(part).map_err(refuse)?;
        }
        Ok(site)
    }
}

impl Site {
    /// Reads `head=1`, `slot=name` or `pos=3`.
    fn read_part(&mut self, part: &str) -> Result<(), String> {
        let form = "inside the bracket stand head=<number>, slot=<name> or pos=<number>, separated by commas";
        let (key, value) = part.split_once('=').ok_or(form)?;
        let number = || value.parse::<usize>().map_err(|_| format!("{key}={value:?} is no number; {form}"));
        let once = self.positions == Positions::All;
        match key {
            "head" if self.kind != SiteKind::Z => return Err("only attn.hook_z has heads".into()),
            "head" if self.head.is_none() => self.head = Some(number()?),
            "slot" if once && !value.is_empty() => self.positions = Positions::Slot(value.to_owned()),
            "pos" if once => self.positions = Positions::Index(number()?),
            "head" | "slot" | "pos" => {
                return Err(format!("{key} is given twice, empty, or beside another position; {form}"));
            }
            _ => return Err(form.into()),
        }
        Ok(())
    }
}

impl Serialize for Site {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Site {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sites() -> impl Strategy<Value = Site> {
        let positions = prop_oneof![
            Just(Positions::All),
            "[a-z][a-z0-9_ -]{0,8}".prop_map(Positions::Slot),
            (0usize..99).prop_map(Positions::Index),
        ];
        (0..SiteKind::ALL.len(), 0usize..40, positions, proptest::option::of(0usize..32)).prop_map(
            |(kind, layer, positions, head)| {
                let kind = SiteKind::ALL[kind];
                Site { kind, layer, positions, head: head.filter(|_| kind == SiteKind::Z) }
            },
        )
    }

    proptest! {
        #[test]
        fn text_and_site_are_the_same_thing(site in sites()) {
            let text = site.to_string();
            prop_assert_eq!(text.parse::<Site>().expect("its own text"), site.clone());
            let json = serde_json::to_string(&site).expect("text");
            prop_assert_eq!(serde_json::from_str::<Site>(&json).expect("its own JSON"), site);
        }
    }

    #[test]
    fn names_are_those_of_the_field() {
        assert_eq!(Site::of_head(2, 1).to_string(), "blocks.2.attn.hook_z[head=1]");
        assert_eq!(Site::at_slot(SiteKind::ResidPre, 1, "name").to_string(), "blocks.1.hook_resid_pre[slot=name]");
        assert_eq!(Site::everywhere(SiteKind::MlpOut, 0).to_string(), "blocks.0.hook_mlp_out");
    }

    #[test]
    fn malformed_texts_are_refused_with_a_reason() {
        for (text, reason) in [
            ("blocks.0.hook_resid_pre[head=1]", "only attn.hook_z has heads"),
            ("blocks.0.attn.hook_z[head=1", "not closed"),
            ("blocks.0.attn.hook_z[head=one]", "no number"),
            ("blocks.0.attn.hook_z[slot=a,pos=1]", "beside another position"),
            ("blocks.0.attn.hook_z[slot=]", "empty"),
            ("blocks.0.attn.hook_z[]", "separated by commas"),
            ("blocks.0.attn.hook_q", "can be read but not patched"),
            ("block.0.hook_resid_pre", "names no hook point"),
        ] {
            let error = text.parse::<Site>().expect_err(text).to_string();
            assert!(error.contains(reason) && error.contains(text), "{error}");
        }
        let error = "resid_prae".parse::<SiteKind>().expect_err("unknown").to_string();
        assert!(error.contains("did you mean resid_pre?"), "{error}");
    }
}
