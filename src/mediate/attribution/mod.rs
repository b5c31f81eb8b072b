//! First-order scores of nodes and edges: what an intervention would change, from gradients instead of runs.
//!
//! With m the metric of a pair, L = −m, and a(x), a(x′) an activation on the clean (factual) and the corrupted
//! (counterfactual) prompt, the score of a node is Σ (a(x′) − a(x)) · dL/da over its positions and components, and that
//! of an edge u → v the same with u's contribution to the stream and the gradient at v's own input:
//! Σ (a_u(x′) − a_u(x)) · dL/dx_v. Both are averaged over pairs. **Positive means that the node or edge helps**:
//! corrupting it lowers the metric. Unit: the metric's (nats of log-odds for [`crate::intervene::Outcome::Contrast`]).
//!
//! Where the gradient is taken is the [`Method`]: attribution patching (Nanda 2023) and EAP (Syed et al. 2023,
//! arXiv 2310.10348) take it on the clean prompt, EAP-IG (Hanna et al. 2024, arXiv 2403.17806) along a line to it,
//! clean–corrupted at both ends. [`information_flow`] (Ferrando and Voita 2024, arXiv 2403.00824) needs no gradient.
//!
//! Assumptions: a first-order expansion; [`crate::mediate::attribution`] screens, exact patching confirms. Queries, keys
//! and values are receivers of their own; their gradients are taken before norm and rotation of heads and pulled back
//! through the projection and the block's norm, so all heads cost one backward pass.
//!
//! Cost: two forward passes a pair, and one forward and backward pass a point of the method's path. Memory: one batch's
//! graph, and for edges the contributions of one stretch of positions; no tensor of batch × position × nodes × width
//! is held.

mod edges;
mod flow;
mod nodes;
mod ready;
mod run;
mod spec;

pub use edges::{EdgeScores, edge_scores};
pub use flow::information_flow;
pub use nodes::{NodeScores, PointScores, node_scores};
pub use spec::{AttributionSpec, Grid, Method, MetricSign};
