"""Discovery's decisions: which components are alive, which gateway a client gets, how many clients move. Pure."""
