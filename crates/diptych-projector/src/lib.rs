//! The hinge: workers that fold recorded facts into read models.
