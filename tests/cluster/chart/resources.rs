//! What the API server takes of the chart's objects and kinds.
