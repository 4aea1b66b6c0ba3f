"""The model as a plug-in of vLLM."""
