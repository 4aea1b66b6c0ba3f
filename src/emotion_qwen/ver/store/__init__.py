"""What a build keeps."""
