"""Print the folder of the task files, for `lmms-eval --include_path`."""

from emotion_qwen.integrations.lmms_eval import TASK_FILES

if __name__ == "__main__":
    print(TASK_FILES)
